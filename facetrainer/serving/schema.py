"""What the interface answers, as `/openapi.json` documents it."""

from pydantic import BaseModel, Field


class Nearest(BaseModel):
    """Somebody in the gallery."""

    person: str
    cosine: float = Field(description="of the face and all photos of the person together")


class FaceFound(BaseModel):
    """A face on a photo."""

    box: list[float] = Field(description="x1 y1 x2 y2 in pixels of the photo")
    person: str | None = Field(description="null: nobody in the gallery, or no threshold is known")
    nearest: list[Nearest]
    quality: float = Field(description="0 to 1: size, sharpness, pose, length of the embedding")


class PhotoRead(BaseModel):
    """All faces of a photo."""

    width: int
    height: int
    faces: list[FaceFound] = Field(description="the largest first")
    threshold: str = Field(description="from which cosine on somebody is named, and what that rests on")


class Compared(BaseModel):
    """Two photos."""

    same: bool | None = Field(description="null where no threshold is known")
    cosine: float
    threshold: str
    probability: float | None = Field(description="of one person, where both answers were alike likely beforehand")
    interval: list[float] | None = Field(description="95 % interval of the probability")


class Person(BaseModel):
    """Somebody in the gallery."""

    name: str
    photos: int


class People(BaseModel):
    """The gallery."""

    people: list[Person]
    threshold: str


class Alike(BaseModel):
    """A pair to look at."""

    first: str
    second: str
    cosine: float


class Worst(BaseModel):
    """Where the gallery may be wrong."""

    alike: list[Alike] = Field(description="two people most alike: one person under two names?")
    unlike: list[Alike] = Field(description="a person, and the photo least like the others: somebody else?")


class Clusters(BaseModel):
    """Photos by person."""

    groups: list[list[list[int]]] = Field(
        description="for each person pairs of photo and face, counted from 0; the largest group first"
    )
    errors: dict[int, str] = Field(description="photos that cannot be read")


class NewName(BaseModel):
    """Another name for a person."""

    name: str


class Enrolled(BaseModel):
    """What the gallery knows now."""

    person: str
    photos: int
