"""Agent states made up for measuring: a conversation of about 4 KiB as msgpack, one message of which is another each time."""

from __future__ import annotations

import random
from typing import Any, Final

import ormsgpack

STATE_BYTES: Final = 4096
#: What is said in a support agent's day. With names and numbers put in, a state compresses as recorded ones of that size do: to
#: about a third.
_SAID: Final = (
    "Hi! I'd like to change my upcoming flight in reservation {code} to {city}, if there is still a seat.",
    "To assist you with modifying your reservation, I need your user ID. Could you please provide it?",
    "My user ID is {name}_{number}. I also want to know whether {count} checked bags are included.",
    'get_reservation_details({{"reservation_id": "{code}", "user_id": "{name}_{number}"}})',
    '{{"reservation_id": "{code}", "origin": "{airport}", "destination": "{airport}", "cabin": "economy", "price": {number}}}',
    "The total difference is ${number}, which will be refunded to the credit card ending in {number} within {count} days.",
    "Unfortunately, basic economy flights cannot be modified. You may upgrade the cabin first, which costs ${number}.",
    "I see, thanks for letting me know. Can we look at flights after {count} pm from {airport} to {airport} instead?",
    'search_direct_flight({{"origin": "{airport}", "destination": "{airport}", "date": "2024-05-{count}"}})',
    '[{{"flight_number": "HAT{number}", "scheduled_departure_time_est": "{count}:00:00", "available_seats": {count}}}]',
    "Please confirm (yes/no): flight HAT{number} on May {count}, paid with certificate_{number}, insurance not included.",
    "Yes, please go ahead. And could you add {name} as a passenger, born on 19{count}-0{count}-{count}?",
    "Error: payment method credit_card_{number} not found; the user's profile lists gift_card_{number} only.",
    "I apologize for the inconvenience. Your booking {code} is updated, and a confirmation goes to {name}{count}@example.com.",
)
_CITIES: Final = ("Denver", "Houston", "San Francisco", "New York", "Charlotte", "Phoenix")
_NAMES: Final = ("mia_li", "omar_rossi", "raj_moore", "sofia_kim", "noah_muller", "emma_lopez")


def conversations(count: int, *, seed: int = 1, size_bytes: int = STATE_BYTES) -> list[dict[str, Any]]:
    """`count` states, each like the one before with one message replaced."""
    source = random.Random(seed)
    messages: list[dict[str, Any]] = []
    while len(ormsgpack.packb(_state(messages))) < size_bytes:
        messages.append(_message(source, len(messages)))
    states: list[dict[str, Any]] = []
    for number in range(count):
        messages = list(messages)
        at = number % len(messages)
        messages[at] = _message(source, at)
        states.append(_state(messages))
    return states


def incompressible(count: int, *, seed: int = 1, size_bytes: int = STATE_BYTES) -> list[dict[str, Any]]:
    """`count` states of bytes that nothing can compress."""
    source = random.Random(seed)
    return [{"messages": [{"role": "tool", "content": source.randbytes(size_bytes - 64)}], "step": n} for n in range(count)]


def _state(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": messages, "step": len(messages), "model": "planner-1", "temperature": 0.2}


def _message(source: random.Random, at: int) -> dict[str, Any]:
    said = " ".join(_sentence(source) for _ in range(source.randint(1, 3)))
    message: dict[str, Any] = {"role": ("user", "assistant", "tool")[at % 3], "content": said}
    if at % 3 == 2:
        message["tool_call_id"] = f"call_{source.getrandbits(96):024x}"
    return message


def _sentence(source: random.Random) -> str:
    return source.choice(_SAID).format(
        code="".join(source.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=6)),
        airport="".join(source.choices("ABCDEFGJKLMNOPST", k=3)),
        city=source.choice(_CITIES),
        name=source.choice(_NAMES),
        number=source.randint(1000, 9_999_999),
        count=source.randint(2, 28),
    )
