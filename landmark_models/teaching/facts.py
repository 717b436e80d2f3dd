"""What a teacher says of a landmark: its proper name, place and tags."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from landmark_models.errors import LandmarkError
from landmark_models.text import is_line


class AddOnError(LandmarkError):
    """An add-on that can't be read, is damaged, or belongs to another model."""


def _one_line(text: str) -> str:
    if not is_line(text):
        raise PydanticCustomError("line", "it holds control characters")
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255), AfterValidator(_one_line)]


@dataclass(frozen=True)
class Facts:
    """What a teacher says of a landmark; everything may be missing.

    `name` is its proper name where that isn't the label, `place` e.g. "Bath, Somerset", `country` a name or an ISO
    3166-1 code, latitude and longitude WGS 84 degrees, `tags` hashtags without the hash, the most specific first.
    """

    name: _Text = ""
    place: _Text = ""
    country: _Text = ""
    latitude: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None
    tags: Annotated[tuple[_Text, ...], Field(max_length=20)] = ()

    def stored(self) -> dict[str, Any]:
        """Those that are known, for JSON."""
        return {name: value for name, value in vars(self).items() if value not in ("", None, ())}

    @classmethod
    def checked(cls, **values: Any) -> "Facts":
        """Facts from values that somebody gives.

        Raises:
            AddOnError: one is of another kind, too long or impossible.
        """
        try:
            return FACTS.validate_python({"": values})[""]
        except ValidationError as error:
            first = error.errors()[0]
            raise AddOnError(f"The {first['loc'][1]} can't be stored: {first['msg']}.") from None


FACTS: TypeAdapter[dict[str, Facts]] = TypeAdapter(dict[str, Facts])  # by label
