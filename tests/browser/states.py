"""Every page in every state that buyers and organisers can see, with the steps that lead there. The
axe tests check all of them, and the screenshots show them."""

import random
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from ops.servers import REPOSITORY
from tests.browser.mail_shop import MailShop
from tests.support.factories import BUYER as PAYER
from tests.support.factories import FREE, STALLS, a_booking, put_on_sale, small_hall, unique
from tests.support.site import DOOR_TOKEN, ORGANISER_TOKEN
from web.adapters.event_files import read_event_file
from web.adapters.mongodb.booking_store import MongoBookingStore
from web.adapters.redis.seat_store import RedisSeatStore
from web.domain.events import Event
from web.domain.sales import Booking, SoldAs, booking_id_of

DECLINED = "Visa that its bank refuses"
ASKING = "Card whose owner has to confirm each payment"
AT_BANK = "Your bank asks you to confirm"
EXPIRED_HOLD_MS = 400
SHARE_SOLD, SHARE_HELD = 0.35, 0.06
"""Of a theatre an hour after the sale opened."""


@dataclass
class Scene:
    """What states are made with. ``open(address)`` opens a page for a new buyer. ``shop`` is on the
    same stores, and sends mails."""

    seats: RedisSeatStore
    bookings: MongoBookingStore
    shop: MailShop
    open: Callable[[str], Page]

    def put_on_sale(self, event: Event, sold: Sequence[str] = ()) -> str:
        """Returns the address of its page."""
        put_on_sale(self.seats, event, sold)
        return f"/events/{event.id}"

    def declared(self, name: str, **changes: object) -> Event:
        """An event of the repository, with a unique id."""
        event = read_event_file(REPOSITORY / f"events/{name}.toml")
        return replace(event, id=unique(event.id), **changes)

    def busy_theatre(self, **changes: object) -> str:
        """The address of a theatre that is partly sold; the same seats are gone each time."""
        event = self.declared("rosewood-theatre", **changes)
        gone = random.Random(1611)
        seats = [seat for seat in event.seats if not seat.startswith("stalls-D")]
        sold = gone.sample(seats, int(SHARE_SOLD * len(seats)))
        address = self.put_on_sale(event, sold)
        free = [seat for seat in seats if seat not in sold]
        self.taken(address, *gone.sample(free, int(SHARE_HELD * len(seats))))
        return address

    def taken(self, address: str, *seats: str) -> None:
        """Somebody else holds these."""
        event = self.seats._catalogue.current_event(address.rpartition("/")[2])
        for seat in seats:
            hold_id = f"hld_{secrets.token_hex(10)}"
            self.seats.hold_seats(event, hold_id, unique("eve"), [event.positions[seat]])

    def chosen(self, *seats: str, **changes: object) -> Page:
        page = self.open(self.busy_theatre(**changes))
        choose(page, *seats)
        return page

    def map_of(self, address: str, *seats: str) -> Page:
        """The live map, with these seats chosen in it."""
        page = self.open(address)
        page.wait_for_selector("[data-ready]")
        if seats:
            # Through a reload, because the position of a seat on the screen is not known here.
            keep = "([event, seats]) => sessionStorage.setItem(event, JSON.stringify(seats))"
            page.evaluate(keep, [address.rpartition("/")[2], seats])
            page.reload()
            page.get_by_role("button", name=f"Hold {len(seats)} seat").wait_for()
        return page

    def held(self, **changes: object) -> Page:
        """Two seats, ready to be paid."""
        page = self.chosen("stalls-D-8", "stalls-D-9", **changes)
        page.get_by_role("button", name="Hold the chosen seats").click()
        page.wait_for_url(re.compile("/holds/hld_"))
        return page

    def booked(self) -> Page:
        page = self.held()
        pay(page)
        page.wait_for_url("**/receipts/**")
        return page

    def tonight(self) -> Event:
        """The theatre, with its doors open."""
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        starts_at = now - timedelta(minutes=now.minute % 15 - 30)
        return self.declared(
            "rosewood-theatre",
            doors_open_at=starts_at - timedelta(minutes=45),
            starts_at=starts_at,
            ends_at=starts_at + timedelta(minutes=150),
            sale_closes_at=starts_at,
        )

    def booking_of(
        self, event: Event, name: str, seats: Sequence[str], booked_at: datetime
    ) -> Booking:
        hold_id = f"hld_{secrets.token_hex(10)}_0"
        names = tuple(map(event.seat_name, seats))
        booking = replace(
            a_booking(event.id, *seats, payment_id=f"pi_{secrets.token_hex(12)}"),
            id=booking_id_of(hold_id),
            hold_id=hold_id,
            name=name,
            email=f"{'.'.join(name.lower().split())}@example.org",
            amount_minor=event.amount_minor([event.positions[seat] for seat in seats]),
            booked_at=booked_at,
            sold_as=SoldAs(event.name, event.venue, names),
        )
        return self.bookings.insert(booking)

    def organised(self) -> Page:
        page = self.open("/organiser")
        page.get_by_label("Token").fill(ORGANISER_TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Sales").wait_for()
        return page


def choose(page: Page, *seats: str) -> None:
    for seat in seats:
        page.locator(f'input[value="{seat}"]').check()


def pressed(page: Page, button: str, heading: str) -> Page:
    """Press the button and wait for the heading of the next page."""
    page.get_by_role("button", name=button).click()
    page.get_by_role("heading", name=heading).wait_for()
    return page


def ready_to_pay(page: Page, *, wait_until: str = "domcontentloaded") -> Page:
    """From an event's page, hold two seats in the stalls and fill in name and e-mail address. By
    default the site's scripts have run then; those of other sites may not have."""
    page.get_by_label("Section").select_option("stalls")
    page.get_by_role("button", name="Hold the best seats").click()
    page.wait_for_url("**/holds/hld_*", wait_until=wait_until)
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.org")
    return page


def pay(page: Page, card: str | None = None) -> None:
    fill_in(page)
    if card:
        page.get_by_label(card).check()
    send(page)


def fill_in(page: Page) -> None:
    page.get_by_label("Name").fill(PAYER.name)
    page.get_by_label("E-mail").fill(PAYER.email)


def send(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Pay|^Book")).click()


@dataclass(frozen=True)
class State:
    """``scripts``: no form is on the way there, so the site's scripts may change the page."""

    caption: str
    scripts: bool
    way: Callable[[Scene], Page]

    def make(
        self,
        seats: RedisSeatStore,
        bookings: MongoBookingStore,
        shop: MailShop,
        page_at: Callable[..., Page],
    ) -> Page:
        return self.way(Scene(seats, bookings, shop, partial(page_at, scripts=self.scripts)))


STATES: dict[str, State] = {}
"""By name, in the order of a purchase."""


def state(
    caption: str, *, scripts: bool = False
) -> Callable[[Callable[[Scene], Page]], Callable[[Scene], Page]]:
    def keep(way: Callable[[Scene], Page]) -> Callable[[Scene], Page]:
        STATES[way.__name__.replace("_", "-")] = State(caption, scripts, way)
        return way

    return keep


# ---------------------------------------------------------------- choosing


@state("What is on sale", scripts=True)
def events(scene: Scene) -> Page:
    return scene.open("/")


@state("A theatre an hour after the sale opened", scripts=True)
def hall(scene: Scene) -> Page:
    return scene.map_of(scene.busy_theatre())


@state("A theatre, with two seats chosen", scripts=True)
def theatre(scene: Scene) -> Page:
    return scene.map_of(scene.busy_theatre(), "stalls-D-8", "stalls-D-9")


@state("The same as a list, as shown without JavaScript")
def theatre_as_list(scene: Scene) -> Page:
    return scene.chosen("stalls-D-8", "stalls-D-9")


@state("A stadium of 50,000 seats", scripts=True)
def stadium(scene: Scene) -> Page:
    return scene.map_of("/events/meridian-stadium-final")


@state("The stadium without JavaScript: a page for each section")
def stadium_as_list(scene: Scene) -> Page:
    return scene.open("/events/meridian-stadium-final")


@state("One section of the stadium", scripts=True)
def section(scene: Scene) -> Page:
    return scene.map_of("/events/meridian-stadium-final/sections/101")


@state("An arena, with the dialog for standing places", scripts=True)
def arena(scene: Scene) -> Page:
    page = scene.map_of("/events/harbour-arena-northern-lights")
    page.get_by_role("gridcell", name="Floor, standing").press("Enter")
    page.get_by_role("dialog").wait_for()
    return page


@state("Standing places: only their number is chosen")
def standing(scene: Scene) -> Page:
    event = scene.declared("harbour-arena")
    floor = tuple(section for section in event.sections if section.kind == "general")
    return scene.open(scene.put_on_sale(replace(event, sections=floor)))


@state("Before the sale opens: seats can be chosen already")
def not_open(scene: Scene) -> Page:
    opens_at = datetime.now(UTC).replace(minute=0, second=0) + timedelta(days=9)
    event = scene.declared("rosewood-theatre", sale_opens_at=opens_at)
    page = scene.open(scene.put_on_sale(event))
    choose(page, "stalls-D-8")
    return page


@state("A hold before the sale opens is refused")
def not_open_refused(scene: Scene) -> Page:
    page = not_open(scene)
    return pressed(page, "Hold the chosen seats", "Not open yet")


@state("Sold out")
def sold_out(scene: Scene) -> Page:
    event = scene.declared("rosewood-theatre")
    return scene.open(scene.put_on_sale(event, sold=event.seats))


@state("Somebody was faster: the nearest seats are offered", scripts=True)
def conflict(scene: Scene) -> Page:
    page = scene.map_of(scene.busy_theatre(), "stalls-D-8", "stalls-D-9")
    page.route("**/seats", lambda route: route.abort())
    scene.taken(page.url.partition("?")[0], "stalls-D-8")
    return pressed(page, "Hold 2 seats", "Somebody was faster")


@state("The same without JavaScript: taken seats are named, the rest stays chosen")
def conflict_in_list(scene: Scene) -> Page:
    page = scene.chosen("stalls-D-7", "stalls-D-8", "stalls-D-9")
    scene.taken(page.url, "stalls-D-8")
    return pressed(page, "Hold the chosen seats", "Some seats were taken")


@state("No seat was chosen")
def none_chosen(scene: Scene) -> Page:
    page = scene.chosen()
    return pressed(page, "Hold the chosen seats", "Please check your seats")


@state("Fewer seats are left than were asked for")
def too_few_left(scene: Scene) -> Page:
    event = small_hall(name="A small evening", sections=(STALLS, replace(FREE, name="Choir")))
    page = scene.open(scene.put_on_sale(event, sold=[f"free-F-{n}" for n in range(1, 6)]))
    page.get_by_label("Section").select_option("free")
    return pressed(page, "Hold the best seats", "Not enough seats left")


@state("More seats than a buyer may hold")
def too_many_held(scene: Scene) -> Page:
    page = scene.held(max_held_per_client=2, max_seats_per_hold=2)
    page.get_by_role("link", name="The Winter's Tale").click()
    choose(page, "stalls-D-11")
    return pressed(page, "Hold the chosen seats", "Your connection holds many seats")


# ---------------------------------------------------------------- paying


@state("Two seats on hold, ready to pay")
def hold(scene: Scene) -> Page:
    return scene.held()


@state("A seat that costs nothing needs no card")
def hold_of_free_seats(scene: Scene) -> Page:
    page = scene.open(scene.put_on_sale(small_hall()))
    choose(page, "free-F-1")
    page.get_by_role("button", name="Hold the chosen seats").click()
    page.get_by_role("button", name="Book, free of charge").wait_for()
    return page


@state("More time was given; this works once")
def extended(scene: Scene) -> Page:
    page = scene.held()
    page.get_by_role("button", name="Give me 5 minutes more").click()
    page.get_by_text("You have more time now.").wait_for()
    return page


@state("A form with mistakes keeps what was typed")
def mistyped(scene: Scene) -> Page:
    page = scene.held()
    page.get_by_label("E-mail").fill("ada at example")
    return pressed(page, "Pay", "Please check the form")


@state("A refused card")
def declined(scene: Scene) -> Page:
    page = scene.held()
    pay(page, DECLINED)
    page.get_by_role("heading", name="The card was refused").wait_for()
    return page


@state("The last allowed attempt to pay was refused")
def last_card_declined(scene: Scene) -> Page:
    page = declined(scene)
    while page.get_by_role("heading", name="The card was refused").is_visible():
        pay(page, DECLINED)
    page.get_by_role("heading", name="The seats were given back").wait_for()
    return page


@state("Waiting for the bank's answer")
def being_checked(scene: Scene) -> Page:
    page = scene.held()
    event_id, hold_id = re.search(r"/events/(.*)/holds/(.*)", page.url).groups()
    event = scene.seats._catalogue.current_event(event_id)
    scene.seats.begin_payment(event, hold_id, PAYER, "digest", "fingerprint")
    page.reload()
    page.get_by_role("heading", name="Your payment is being checked").wait_for()
    return page


@state("The bank wants the owner of the card to confirm")
def at_bank(scene: Scene) -> Page:
    page = scene.held()
    pay(page, ASKING)
    page.get_by_role("heading", name=AT_BANK).wait_for()
    return page


@state("The owner of the card refused at the bank")
def refused_at_bank(scene: Scene) -> Page:
    page = at_bank(scene)
    page.get_by_role("link", name="Continue to your bank").click()
    return pressed(page, "No, do not pay", "These seats are yours to buy")


@state("Back from the bank in another browser")
def back_in_another_browser(scene: Scene) -> Page:
    page = at_bank(scene)
    page.context.clear_cookies()
    page.goto(f"{page.url}/return")
    return page


@state("The time ran out, and one of the seats is gone")
def expired(scene: Scene) -> Page:
    """One of the seats is gone meanwhile."""
    page = scene.held(hold_ms=EXPIRED_HOLD_MS)
    page.wait_for_timeout(EXPIRED_HOLD_MS)
    scene.taken(page.url.partition("/holds/")[0], "stalls-D-8")
    page.reload()
    page.get_by_role("heading", name="The time for these seats ran out").wait_for()
    return page


@state("The receipt, and the code for the door")
def receipt(scene: Scene) -> Page:
    return scene.booked()


@state("A refunded booking is not a ticket")
def refunded(scene: Scene) -> Page:
    page = scene.booked()
    booking_id = re.search(r"bkg_\w+", page.inner_text("main"))[0]
    scene.bookings.mark_refunded(booking_id, datetime.now(UTC))
    page.reload()
    page.get_by_role("heading", name="This booking was refunded").wait_for()
    return page


@state("The basket with a hold, an expired hold and a booking")
def basket(scene: Scene) -> Page:
    """A booking, a hold, and one whose time ran out."""
    page = scene.booked()
    for hold_ms in (EXPIRED_HOLD_MS, 300_000):
        page.goto(scene.busy_theatre(hold_ms=hold_ms))
        choose(page, "stalls-D-8")
        page.get_by_role("button", name="Hold the chosen seats").click()
        page.wait_for_url(re.compile("/holds/hld_"))
        page.wait_for_timeout(min(hold_ms, EXPIRED_HOLD_MS))
    page.goto("/basket")
    return page


@state("An empty basket")
def empty_basket(scene: Scene) -> Page:
    return scene.open("/basket")


# ---------------------------------------------------------------- refused


@state("The seats were sold to somebody else")
def sold_after_all(scene: Scene) -> Page:
    for _ in range(3):
        page = scene.held()
        event_id = re.search(r"/events/(.*)/holds/", page.url)[1]
        fill_in(page)
        # At the last moment, or the worker could find it out before the buyer.
        scene.bookings.insert(a_booking(event_id, "stalls-D-8"))
        send(page)
        heading = page.get_by_role("heading", name="Somebody else has bought these seats")
        with suppress(PlaywrightTimeoutError):
            heading.wait_for(timeout=5000)
            return page
    raise RuntimeError("The worker found it out before the buyer each time.")


@state("A form without the cookie that proves it is ours")
def form_without_cookie(scene: Scene) -> Page:
    page = scene.held()
    page.context.clear_cookies()
    pay(page)
    page.get_by_role("heading", name="This needs a cookie").wait_for()
    return page


@state("Seats held by another browser")
def seats_of_another_browser(scene: Scene) -> Page:
    page = scene.held()
    page.context.clear_cookies()
    page.reload()
    return page


@state("A page that does not exist")
def no_such_page(scene: Scene) -> Page:
    return scene.open("/nothing")


@state("A receipt that does not exist")
def no_such_receipt(scene: Scene) -> Page:
    return scene.open("/receipts/guessed")


@state("Too many requests")
def too_fast(scene: Scene) -> Page:
    page = scene.open("/")
    at_once = "Promise.all(Array.from({length: 12}, () => fetch('/basket')))"
    for _ in range(10):
        page.evaluate(f"{at_once}.then(() => null)")
        page.goto("/basket")
        if page.get_by_role("heading", name="Too many requests at once").is_visible():
            return page
    raise AssertionError("nothing was too fast")


@state("An error page of nginx")
def said_by_nginx(scene: Scene) -> Page:
    return scene.open("/metrics")


# ---------------------------------------------------------------- the organiser


@state("The organiser's login")
def organiser_login(scene: Scene) -> Page:
    return scene.open("/organiser")


@state("A wrong token")
def organiser_wrong_token(scene: Scene) -> Page:
    page = organiser_login(scene)
    page.get_by_label("Token").fill("wrong")
    return pressed(page, "Log in", "That did not work")


@state("The organiser's sales")
def organiser(scene: Scene) -> Page:
    return scene.organised()


@state("One sale in figures", scripts=True)
def organiser_sale(scene: Scene) -> Page:
    """An hour old, with most of the sales in its first minutes, and some holds."""
    event = scene.declared("rosewood-theatre")
    chance = random.Random(1611)
    sold = chance.sample(event.seats, 160)
    address = scene.put_on_sale(event, sold)
    scene.taken(address, *[seat for seat in event.seats if seat not in sold][:9])
    opened_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=50)
    for first, second in zip(sold[::2], sold[1::2], strict=True):
        scene.bookings.insert(
            replace(
                a_booking(event.id, first, second),
                amount_minor=event.amount_minor([event.positions[s] for s in (first, second)]),
                booked_at=opened_at + timedelta(minutes=min(49, chance.expovariate(1 / 9))),
            )
        )
    page = scene.organised()
    page.goto(f"/organiser{address}")
    return page


BOOKED_AT = datetime(2026, 10, 10, 9, 1, 30, tzinfo=UTC)

BUYERS = (
    "Ada Lovelace",
    "Zoë Müller",
    "Søren Kierkegaard",
    "Grace Hopper",
    "Анна Ахматова",
    "מרים מירזחאני",
    "Conan O'Brien",
    "Łukasz Wójcik",
)


@state("A sale that was closed by hand: the line for its file", scripts=True)
def organiser_sale_closed(scene: Scene) -> Page:
    event = scene.declared("rosewood-theatre")
    address = scene.put_on_sale(event)
    scene.seats.close_sale(event.id)
    page = scene.organised()
    page.goto(f"/organiser{address}")
    return page


@state("The bookings of a sale")
def organiser_bookings(scene: Scene) -> Page:
    event = scene.tonight()
    address = scene.put_on_sale(event)
    for number, name in enumerate(BUYERS):
        seats = event.seats[2 * number : 2 * number + 1 + number % 2]
        booking = scene.booking_of(event, name, seats, BOOKED_AT + timedelta(seconds=17 * number))
    scene.bookings.mark_refunded(booking.id, BOOKED_AT + timedelta(days=1))
    page = scene.organised()
    page.goto(f"/organiser{address}/bookings")
    return page


@state("One booking: its buyer, mails and admissions, and what can be done about it")
def organiser_booking(scene: Scene) -> Page:
    page = organiser_bookings(scene)
    link = page.get_by_role("link", name="Zoë Müller").get_attribute("href")
    booking = scene.bookings.find(link.rpartition("/")[2])
    scene.bookings.admit(booking.id, booking.seats[:1], "North", "scan")
    queue = scene.shop.services.mail_queue
    queue.send_ticket_again(booking.id, BOOKED_AT, None)
    queue.end_mail(scene.bookings.find(booking.id), "ticket", BOOKED_AT + timedelta(seconds=19))
    page.goto(f"{scene.shop.url}{link}")
    page.get_by_role("heading", name="Booking of Zoë Müller").wait_for()
    return page


@state("A ticket is sent again")
def organiser_booking_mailed(scene: Scene) -> Page:
    page = pressed(organiser_booking(scene), "Send the ticket again", "Mail")
    page.get_by_text("The ticket has been due since").wait_for()
    return page


@state("A refund without its word")
def refund_mistyped(scene: Scene) -> Page:
    page = organiser_booking(scene)
    page.get_by_label("Type refund to confirm").fill("yes")
    return pressed(page, "Refund", "Please check the form")


# ---------------------------------------------------------------- mails and the door


@state("The mail with the ticket, as HTML")
def mail(scene: Scene) -> Page:
    event = scene.declared("rosewood-theatre")
    scene.put_on_sale(event)
    booking = scene.booking_of(event, "Ada Lovelace", ("stalls-D-8", "stalls-D-9"), BOOKED_AT)
    told = replace(booking, news={"ticket": BOOKED_AT})
    page = scene.open("about:blank")
    page.set_content(scene.shop.html_of_mail(told, "ticket"))
    return page


@state("A telephone becomes a gate", scripts=True)
def door(scene: Scene) -> Page:
    return scene.open(scene.put_on_sale(scene.tonight()).replace("/events/", "/door/"))


def gate_for(scene: Scene, name: str) -> tuple[Page, Booking]:
    """A gate that has begun, and a booking."""
    page = door(scene)
    event = scene.seats._catalogue.current_event(page.url.rpartition("/")[2])
    booking = scene.booking_of(event, "Ada Lovelace", ("stalls-D-8", "stalls-D-9"), BOOKED_AT)
    page.get_by_label("Token of the doors").fill(DOOR_TOKEN)
    page.get_by_label("Name of this gate").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("0 of 2 inside").wait_for()
    return page, booking


def scanned(scene: Scene, page: Page, booking: Booking, verdict: str) -> Page:
    page.get_by_label("Hand scanner").fill(scene.shop.services.codes.code_of(booking))
    return pressed(page, "Check", verdict)


@state("A ticket lets two people in", scripts=True)
def door_let_in(scene: Scene) -> Page:
    page, booking = gate_for(scene, "North")
    scanned(scene, page, booking, "Yes: 2 people")
    page.get_by_text("2 of 2 inside").wait_for()
    return page


@state("A ticket that was let in at another gate", scripts=True)
def door_refused(scene: Scene) -> Page:
    page, booking = gate_for(scene, "South")
    scene.bookings.admit(booking.id, booking.seats, "North", "scan")
    page.reload()
    page.get_by_text("2 of 2 inside").wait_for()
    return scanned(scene, page, booking, "No: already inside")


@state("A gate without a connection checks the signature", scripts=True)
def door_offline(scene: Scene) -> Page:
    page, booking = gate_for(scene, "North")
    page.context.set_offline(True)
    return scanned(scene, page, booking, "Yes: 2 people")
