"""Networks of proxies, as settings name them: written out, by preset, or in a file."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network

PRESETS_DIR = Path(__file__).with_name("proxies")
"""Has one file per preset, with the preset's name."""

FILE_MARK = "@"


def parse_networks(text: str, folder: Path = Path()) -> tuple[Network, ...]:
    """The networks of a comma-separated list: ``heroku, 10.1.0.0/16, ::1, @/etc/proxies.txt``.

    An entry is a network or a single address, the name of a preset, or ``@`` and the path of a file
    with one network per line, in which blank lines and ``#`` comments are ignored. IPv4-mapped
    networks become IPv4, as addresses do. A relative path starts from ``folder``. Raises ValueError
    naming the bad part, also for the whole Internet: trusting that would be trusting everybody.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(network for part in parts if part for network in _networks(part, folder))


def presets() -> list[str]:
    return sorted(path.stem for path in PRESETS_DIR.glob("*.txt"))


def _networks(part: str, folder: Path) -> Iterator[Network]:
    if part.startswith(FILE_MARK):
        yield from _read(folder / part.removeprefix(FILE_MARK))
    elif part in presets():
        yield from _read(PRESETS_DIR / f"{part}.txt")
    else:
        yield _network(part)


def _read(path: Path) -> Iterator[Network]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the networks in {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                yield _network(text)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        known = ", ".join(presets())
        raise ValueError(
            f"{text!r} is no network ({error}), no preset ({known}) and no @file"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text} is everybody: name the networks that you trust")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network
