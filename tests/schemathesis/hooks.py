"""What schemathesis may not do to the service: end the caller that it is, or go where no answer sent it."""

import os

import schemathesis
from hypothesis import strategies as st

OWN_ID = os.environ["OFFERS_FUZZ_OWN_ID"]
STRANGER = "00000000-0000-7000-8000-000000000000"


# The document describes what no pattern can say.
USERNAMES = st.from_regex(r"[A-Za-z0-9@.+_à-öа-яぁ-ゖ-]{1,150}", fullmatch=True)
schemathesis.openapi.format("username", USERNAMES)


@schemathesis.hook
def before_call(context, case, kwargs):
    """An administrator who locks itself out would see nothing but 401 from there on. And where an answer's
    id is null (the partner of a purchase without one), a link made of it would go to the id "None"."""
    for name, value in case.path_parameters.items():
        if value in (None, "None"):
            case.path_parameters[name] = STRANGER
    if case.method.upper() == "PATCH" and case.path_parameters.get("id") == OWN_ID:
        case.path_parameters["id"] = STRANGER
