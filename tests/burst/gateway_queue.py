"""How many buyers waited for the payment gateway's rate limit, by the shop's own metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GatewayQueue:
    """Buyers who waited because the gateway's rate was used up, and how long in all.
    ``waited_up_to_s`` has how many waited so long at most, as in a Prometheus histogram: the last
    bound is infinite. ``sent_away`` are calls that would have waited too long."""

    waited_up_to_s: Mapping[float, int] = field(default_factory=dict)
    waited_s: float = 0.0
    sent_away: int = 0

    @property
    def waited(self) -> int:
        return max(self.waited_up_to_s.values(), default=0)

    @property
    def mean_s(self) -> float:
        return self.waited_s / max(1, self.waited)

    @property
    def most_s(self) -> float:
        """A bound that nobody waited longer than; of the histogram, so not a tight one."""
        return min(
            (bound for bound, count in self.waited_up_to_s.items() if count == self.waited),
            default=0.0,
        )
