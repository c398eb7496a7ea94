"""What is decided is what is charged: from figures to TOML to the plan of a call."""

import tomllib
from datetime import date
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from callmeter.pricing import authored
from callmeter.pricing.build.complete import Figure, completed
from callmeter.pricing.build.decide import Verdict
from callmeter.pricing.build.join import Dossier
from callmeter.pricing.build.names import Provider
from callmeter.pricing.build.offers import Offer, Slot, printed, same
from callmeter.pricing.build.write import document, models, source
from callmeter.pricing.plan import STANDARD, build
from callmeter.pricing.rates import FEMTOS, TOKEN_LINES, femtos, unit_of

LINES = ["input", "output", "cache_read", "image_out", "audio_second", "search.web", "search.web.low", "character"]
prices = st.integers(10**4, 10**9).map(lambda n: Decimal(n).scaleb(-12))
sources = st.sampled_from(["litellm", "genai-prices", "models.dev"])


@st.composite
def slots(draw) -> Slot:
    line = draw(st.sampled_from(LINES))
    floor = draw(st.sampled_from([0, 0, 128_001, 200_000])) if line in TOKEN_LINES else 0
    return Slot(
        line, draw(st.sampled_from(["", "", "batch", "flex"])), draw(st.sampled_from(["", "", "eu", "us"])), "", floor
    )


figures = st.dictionaries(
    slots(), st.builds(lambda price, source: Figure(price, source), prices, sources), min_size=1, max_size=14
)


@given(figures)
def test_every_figure_is_charged_as_it_was_decided(found) -> None:
    # A line has a price for short contexts, and all its contexts are from one source: `decide` sees to both.
    found = {
        slot: figure._replace(source=found[s].source)
        for slot, figure in found.items()
        if (s := slot._replace(floor=0)) in found
    }
    assume(found)
    found = completed(found)
    dossier = Dossier(
        provider="groq", model="m", offers=(Offer(source="litellm", provider="groq", model="m"),), mode="chat"
    )
    entries = models([Verdict(dossier=dossier, rule="single", figures=found, since=None)], {})
    text = document(Provider(id="groq"), entries, [source("litellm", date(2026, 1, 1), "")])
    (entry,) = tomllib.loads(text)["model"]
    model = authored.model(entry)
    for slot, figure in found.items():
        plan = build(model, slot.tier or STANDARD, slot.region)
        sheet = next(sheet for sheet in plan.in_force(10**18) if sheet.floor <= slot.floor)
        charged = Decimal(sheet.charges[slot.line].femtos) / FEMTOS
        tolerance = Decimal("0.0004") if unit_of(slot.line) == "second" else Decimal("0.000002")
        # A proportion is rounded to the femto, the finest there is.
        assert abs(charged - figure.price) <= max(tolerance * figure.price, Decimal("1e-15")), slot


@given(st.integers(1, 10**7), st.integers(0, 7), st.sampled_from(["input", "character", "image", "request"]))
def test_a_printed_price_is_the_price(digits: int, places: int, line: str) -> None:
    per = 10**6 if line in ("input", "character") else 1
    price = Decimal(digits).scaleb(-places)
    text, unit = printed(price / per, line)
    assert Decimal(text) == price or same(Decimal(text), price)
    assert femtos(text, unit, "it") > 0
    assert len(text) <= len(f"{price.normalize():f}") + 1


def test_the_noise_of_a_binary_fraction_is_rounded_away() -> None:
    assert printed(Decimal("0.00000059999999999999997"), "input") == ("0.6", "1M")
    assert printed(Decimal("0.001333333333333"), "audio_second") == ("0.08", "1min")
    assert printed(Decimal("0.00003083333"), "audio_second")[0] in ("0.111", "0.00185")
    assert printed(Decimal("0.0001"), "audio_second") == ("0.0001", "1")
    assert printed(Decimal("0.082513"), "video_second.720p") == ("0.082513", "1")


def test_any_text_is_written_so_that_it_can_be_read() -> None:
    said = 'a "quoted" \\ line\nand \x7f and ü'
    text = document(Provider(id="groq"), [], [source("inferred", None, said)])
    assert tomllib.loads(text)["source"][0]["note"] == said
