"""The application: routes, each a few lines around the gallery."""

import asyncio
import os
import unicodedata
from typing import Annotated

import numpy as np
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse, Response

from facetrainer.data.images import decode, encode
from facetrainer.recognition import album
from facetrainer.recognition.gallery import Gallery, digest_of
from facetrainer.recognition.threshold import of_search
from facetrainer.recognition.verification import judge
from facetrainer.serving import schema
from facetrainer.serving.guard import Guard, Limits
from facetrainer.serving.worker import BusyError, Worker
from facetrainer.utils.files import read_bytes, replacing

PAGE = os.path.join(os.path.dirname(__file__), "page")
LONGEST = 100  # characters of a name
PHOTOS = 100  # to cluster at once
LISTED = 20  # worst pairs
Name = Annotated[str, Form()]
Number = Annotated[int, Form(description="of the face; -1 for the one that is meant: large and near the middle")]
Forced = Annotated[bool, Form(description="also if it looks like somebody else of that name")]
Photo = Annotated[UploadFile, File(description="JPEG, PNG, BMP, WebP, TIFF, PNM or JPEG 2000")]


def make_app(gallery: Gallery, limits: Limits, keep: str | None = None) -> Guard:
    """The application of a gallery.

    Args:
        gallery: Who is known; changed by `/api/enrol` and the like, and saved then.
        limits: What a client may ask for.
        keep: Folder for the photos that are enrolled. Defaults to none: nothing of an upload is kept but its embedding.

    Returns:
        An ASGI application.
    """
    app = FastAPI(title="Who is this?", docs_url=None, redoc_url=None)
    service = Service(gallery, keep)
    for method, path, function, answer in service.routes():
        app.add_api_route(path, function, methods=[method], response_model=answer)
    for path, name in (("/", "index.html"), ("/page.js", "page.js"), ("/page.css", "page.css")):
        app.add_api_route(path, _file(name), include_in_schema=False, response_class=FileResponse)
    return Guard(app, limits)


def _file(name):
    async def page():
        return FileResponse(os.path.join(PAGE, name))

    return page


class Service:
    """The functions behind the routes; what they say of a wrong request is status 400, of too many 503.

    Args:
        gallery: Who is known.
        keep: Folder for enrolled photos, or None.
    """

    def __init__(self, gallery: Gallery, keep: str | None):
        self.gallery, self.keep, self.worker = gallery, keep, Worker(gallery.reader)

    def routes(self) -> list[tuple]:
        """Method, path, function, answer."""
        return [
            ("GET", "/api/people", self.people, schema.People),
            ("POST", "/api/identify", self.identify, schema.PhotoRead),
            ("POST", "/api/verify", self.verify, schema.Compared),
            ("POST", "/api/enrol", self.enrol, schema.Enrolled),
            ("POST", "/api/people/{name}/rename", self.rename, schema.Enrolled),
            ("DELETE", "/api/people/{name}", self.remove, schema.Enrolled),
            ("GET", "/api/people/{name}/photos/{number}", self.photo, None),
            ("GET", "/api/worst", self.worst, schema.Worst),
            ("POST", "/api/cluster", self.cluster, schema.Clusters),
        ]

    async def people(self):
        """Everybody in the gallery."""
        return await self._run(self._people)

    def _people(self):
        self.gallery.store.refresh()
        people = [{"name": name, "photos": count} for name, count in sorted(self.gallery.people().items())]
        return {"people": people, "threshold": str(self.gallery.threshold())}

    async def identify(self, photo: Photo):
        """Who is on a photo."""
        found = await self._read(photo)
        matches, threshold = await self._run(lambda: self._matches(found.faces))
        faces = [
            {"box": [float(side) for side in one.face.box], "person": one.person, "quality": one.face.quality.value,
             "nearest": [{"person": person, "cosine": cosine} for person, cosine in one.nearest]}
            for one in matches
        ]  # fmt: skip
        height, width = found.shape
        return {"width": width, "height": height, "faces": faces, "threshold": threshold}

    def _matches(self, faces):
        """By the gallery as it is now, whoever changed it."""
        self.gallery.store.refresh()
        return self.gallery.matches(faces), str(self.gallery.threshold())

    async def verify(self, first: Photo, second: Photo):
        """Whether two photos are of one person."""
        photos = [
            await self._read(one, name) for one, name in ((first, "the first photo"), (second, "the second photo"))
        ]
        found = await self._run(lambda: judge(tuple(photo.one() for photo in photos), self.gallery.reader.model))
        return {"same": found.same, "cosine": found.cosine, "threshold": str(found.threshold), "probability": found.probability,
                "interval": found.interval}  # fmt: skip

    async def enrol(self, photo: Photo, name: Name, face: Number = -1, force: Forced = False):
        """Puts somebody into the gallery, or one more photo of somebody who is there."""
        person, data = _name(name), await photo.read()
        found = await self._read(photo, data=data)
        return await self._run(lambda: self._enrol(person, found, face, data, force))

    def _enrol(self, person, photo, number, data, force):
        digest = digest_of(data)
        if number >= len(photo.faces):
            raise ValueError(f"the photo has {len(photo.faces)} faces. Received: number {number}")
        face = photo.faces[number] if number >= 0 else photo.one()
        with self.gallery.store.changing():
            if not self.gallery.store.holds(person, digest):
                self.gallery.add_face(person, face, self._kept(digest, data), digest, force=force)
        return self._enrolled(person)

    def _kept(self, digest, data):
        if self.keep is None:
            return "upload"
        path = os.path.join(os.path.abspath(self.keep), f"{digest}.jpg")
        with replacing(path) as part, open(part, "wb") as file:
            file.write(data)
        return path

    def _enrolled(self, person):
        return {"person": person, "photos": self.gallery.people().get(person, 0)}

    async def rename(self, name: str, new: schema.NewName):
        """Gives a person another name; where somebody has it, the two become one."""
        return await self._run(lambda: self._renamed(name, _name(new.name)))

    def _renamed(self, name, new):
        self.gallery.rename(name, new)
        return self._enrolled(new)

    async def remove(self, name: str):
        """Forgets a person."""
        return await self._run(lambda: (self.gallery.remove(name), self._enrolled(name))[1])

    async def photo(self, name: str, number: int):
        """A small picture of an enrolled photo, where its file is still there."""
        return Response(await self._run(lambda: self._small(name, number)), media_type="image/jpeg")

    def _small(self, name, number):
        photos = self.gallery.store.photos_of(name)
        if not 0 <= number < len(photos) or not os.path.isfile(photos[number].photo):
            raise FileNotFoundError("there is no such photo.")
        image = decode(read_bytes(photos[number].photo))
        scale = 160 / max(image.shape[:2])
        return encode(
            decode(image, (round(image.shape[0] * scale) or 1, round(image.shape[1] * scale) or 1)), quality=85
        )

    async def worst(self):
        """Pairs to look at: people most alike, and photos least like the person's others."""
        return await self._run(self._worst)

    def _worst(self):
        names, vectors = self.gallery.templates(2000)
        cosines = np.triu(vectors @ vectors.T - 2, 1) + np.tril(np.full((len(names),) * 2, -4.0))
        top = np.argsort(cosines, axis=None)[::-1][: min(LISTED, len(names) * (len(names) - 1) // 2)]
        alike = [(names[k // len(names)], names[k % len(names)], float(cosines.flat[k] + 2)) for k in top]
        unlike = sorted(self._odd(names), key=lambda one: one[2])[:LISTED]
        return {kind: [dict(zip(("first", "second", "cosine"), one, strict=True)) for one in found]
                for kind, found in (("alike", alike), ("unlike", unlike))}  # fmt: skip

    def _odd(self, names):
        for name in names:
            photos = self.gallery.store.photos_of(name)
            if len(photos) > 1:
                vectors = np.stack([one.vector for one in photos])
                fit = (vectors @ vectors.T).sum(axis=1) - 1
                k = int(fit.argmin())
                yield name, os.path.basename(photos[k].photo), float(fit[k] / (len(photos) - 1))

    async def cluster(self, photos: Annotated[list[UploadFile], File()]):
        """Photos by person, whoever they are."""
        if len(photos) > PHOTOS:
            raise HTTPException(400, f"expected {PHOTOS} photos at most. Received: {len(photos)}")
        found = await asyncio.gather(*[self._read(one, quiet=True) for one in photos])
        return await self._run(lambda: self._clusters(found))

    def _clusters(self, photos):
        places = [(k, n) for k, photo in enumerate(photos) for n in range(len(photo.faces))]
        errors = {k: photo.error for k, photo in enumerate(photos) if photo.error}
        if not places:
            return {"groups": [], "errors": errors}
        limit = of_search(self.gallery.reader.model, self.gallery.store, self.gallery.far, len(places))
        if limit.value is None:
            raise ValueError(limit.basis)
        labels = album.group(np.stack([photos[k].faces[n].embedding for k, n in places]), limit.value)
        groups = [
            [list(place) for place, one in zip(places, labels, strict=True) if one == label]
            for label in range(labels.max() + 1)
        ]
        return {"groups": groups, "errors": errors}

    async def _read(self, upload, name="the photo", data=None, quiet=False):
        data = await upload.read() if data is None else data
        found = await self._wait(lambda: self.worker.read(data))
        if found.error and not quiet:
            raise HTTPException(400, f"{name}: {found.error}")
        return found

    async def _run(self, work):
        return await self._wait(lambda: self.worker.run(work))

    async def _wait(self, begin):
        """The result of a job, its user's mistakes as status 400 or 404."""
        try:
            return await asyncio.wrap_future(begin())
        except BusyError:
            raise HTTPException(503, "busy: ask again in a moment.", {"retry-after": "1"}) from None
        except FileNotFoundError as error:
            raise HTTPException(404, str(error)) from None
        except ValueError as error:
            raise HTTPException(400, str(error)) from None


def _name(text):
    """A name as people write them."""
    name = unicodedata.normalize("NFC", text).strip()
    if not name or len(name) > LONGEST or any(unicodedata.category(one)[0] == "C" for one in name):
        raise HTTPException(400, f"a name has 1 to {LONGEST} characters, none of them a control character.")
    return name
