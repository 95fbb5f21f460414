"""The JSON interface, over a real connection."""

import json
import os
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from recognition import mosaics
from serving import served

from facetrainer.cli import serve
from facetrainer.data.images import encode
from facetrainer.recognition import Gallery
from facetrainer.serving.guard import Limits
from facetrainer.serving.worker import BusyError, Worker


def ask(address, method="GET", path="/api/people", files=(), fields=(), body=None, **headers):
    """Status and what came."""
    data, boundary = body, "b0undary"
    if files or fields:
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields
        ]
        for name, content in files:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="x.png"\r\n\r\n'.encode()
            parts.append(head + content + b"\r\n")
        data = b"".join(parts) + f"--{boundary}--\r\n".encode()
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
    request = urllib.request.Request(
        address + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if "json" in answer.headers["content-type"] else content
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def png(person, shot=9):
    return encode(mosaics.photo(person, shot), ".png")


def test_identify_enrol_correct_forget(workdir):
    with served.server(served.app()) as address:
        assert ask(address)[1]["people"][0] == {"name": "p0", "photos": 2}
        status, found = ask(address, "POST", "/api/identify", [("photo", png(3))])
        assert status == 200 and found["faces"][0]["person"] == "p3" and found["faces"][0]["box"] == [0, 0, 112, 112]
        assert ask(address, "POST", "/api/identify", [("photo", png(7))])[1]["faces"][0]["person"] is None
        fields = [("name", "  Zoë <b> "), ("face", 0)]
        assert ask(address, "POST", "/api/enrol", [("photo", png(7))], fields)[1] == {"person": "Zoë <b>", "photos": 1}
        assert ask(address, "POST", "/api/identify", [("photo", png(7, 8))])[1]["faces"][0]["person"] == "Zoë <b>"
        assert (
            ask(address, "POST", "/api/people/p1/rename", body=b'{"name": "Ann"}', content_type="application/json")[0]
            == 200
        )
        assert ask(address, "DELETE", "/api/people/p2") == (200, {"person": "p2", "photos": 0})
        assert [one["name"] for one in ask(address)[1]["people"]] == ["Ann", "Zoë <b>", "p0", "p3", "p4"]
    assert set(Gallery.load("people", mosaics.reader()).people()) == {"Ann", "Zoë <b>", "p0", "p3", "p4"}
    assert sorted(os.listdir("people"))[1:] == [
        "gallery.json",
        *[n for n in os.listdir("people") if n.startswith("photos-")],
    ]


def test_what_another_process_enrols_is_seen(workdir):
    with served.server(served.app()) as address:
        Gallery(mosaics.reader(), "people").enrol([("Zoe", mosaics.photo(50))])
        assert ask(address, "POST", "/api/identify", [("photo", png(50))])[1]["faces"][0]["person"] == "Zoe"
        assert {"name": "Zoe", "photos": 1} in ask(address)[1]["people"]


def test_compare_worst_cluster_pictures(workdir):
    with served.server(served.app()) as address:
        found = ask(address, "POST", "/api/verify", [("first", png(1)), ("second", png(1, 5))])[1]
        assert found["same"] is None and found["cosine"] > 0.95 and "--calibrate" in found["threshold"]
        worst = ask(address, path="/api/worst")[1]
        assert len(worst["alike"]) == 10 and len(worst["unlike"]) == 5
        assert worst["alike"][0]["cosine"] >= worst["alike"][-1]["cosine"]
        status, picture = ask(address, path="/api/people/p1/photos/0")
        assert status == 200 and picture[:2] == b"\xff\xd8"
        assert ask(address, path="/api/people/p1/photos/9")[0] == 404
        status, found = ask(
            address,
            "POST",
            "/api/cluster",
            [("photos", png(k, s)) for k in (1, 2) for s in range(3)] + [("photos", b"no")],
        )
        assert status == 400 and "--calibrate" in found["detail"]


def test_clusters_by_the_gallerys_own_people(workdir):
    with served.server(served.app(people=range(12))) as address:
        photos = [("photos", png(k, s)) for k in (21, 22) for s in range(3)] + [("photos", b"no picture")]
        found = ask(address, "POST", "/api/cluster", photos)[1]
        assert sorted(map(sorted, found["groups"])) == [[[0, 0], [1, 0], [2, 0]], [[3, 0], [4, 0], [5, 0]]]
        assert "not an image" in found["errors"]["6"]


def test_bad_requests_are_told(workdir):
    with served.server(served.app()) as address:
        for content, why in (
            (b"no picture", "the photo: not an image"),
            (png(1)[:3000], "damaged"),
            (b"", "not an image"),
        ):
            status, found = ask(address, "POST", "/api/identify", [("photo", content)])
            assert status == 400 and why in found["detail"]
        for name in ("", "  ", "x" * 101, "a\nb", "\u202eevil"):
            assert ask(address, "POST", "/api/enrol", [("photo", png(7))], [("name", name)])[0] in (400, 422)
        status, found = ask(address, "POST", "/api/enrol", [("photo", png(7))], [("name", "Ann"), ("face", 3)])
        assert status == 400 and "1 faces" in found["detail"]
        assert ask(address, "DELETE", "/api/people/nobody")[0] == 400
        assert ask(address, "POST", "/api/verify", [("first", png(1))])[0] == 422
        assert ask(address, path="/api/people/..%2f..%2fetc/photos/0")[0] == 404
        assert ask(address, path="/../app.py")[0] == 404


def test_a_photo_of_too_many_pixels(workdir, monkeypatch):
    monkeypatch.setenv("FACE_MAX_PIXELS", "10000")
    app = served.make_app(Gallery(mosaics.reader()), Limits())
    with served.server(app) as address:
        status, found = ask(address, "POST", "/api/identify", [("photo", png(1))])
        assert status == 400 and "more than 10,000" in found["detail"]


def test_nothing_of_an_upload_is_kept_unless_asked(workdir, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    large = encode(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8), ".png")
    before = {name for _, _, names in os.walk(".") for name in names}
    with served.server(served.app()) as address:
        assert ask(address, "POST", "/api/identify", [("photo", large)])[0] == 200
        assert ask(address, "POST", "/api/enrol", [("photo", png(7))], [("name", "Ann")])[0] == 200
    new = {name for _, _, names in os.walk(".") for name in names} - before
    assert not list(temporary.iterdir()) and not [name for name in new if "upload" in name or name.endswith(".jpg")]
    with served.server(served.app(keep="kept")) as address:
        assert ask(address, "POST", "/api/enrol", [("photo", png(8))], [("name", "Bob")])[0] == 200
        assert ask(address, path="/api/people/Bob/photos/0")[0] == 200
    assert open(f"kept/{os.listdir('kept')[0]}", "rb").read() == png(8)


def test_other_pages_and_other_names_are_refused(workdir):
    with served.server(served.app()) as address:
        assert ask(address, Host="evil.example")[0] == 421
        assert ask(address, "DELETE", "/api/people/p1", Origin="http://evil.example")[0] == 403
        assert ask(address, "DELETE", "/api/people/p1", Origin=address)[0] == 200


def test_token_bytes_and_rate(workdir):
    limits = Limits(bytes=50_000, rate=1, hosts=(), token="secret")
    with served.server(served.app(limits)) as address:
        assert ask(address)[0] == 401 and ask(address, Authorization="Bearer wrong")[0] == 401
        assert ask(address, path="/")[0] == 200  # the page itself asks for the token
        assert ask(address, Authorization="Bearer secret")[0] == 200
        assert ask(address, "POST", "/api/identify", body=b"x" * 60_000, Authorization="Bearer secret")[0] == 413
        assert endless(address) == b"HTTP/1.1 413"
        codes = [ask(address, Authorization="Bearer secret")[0] for _ in range(30)]
        assert codes[0] == 200 and codes[-1] == 429


def endless(address):
    """A body without a length that goes on and on."""
    with socket.create_connection(address.removeprefix("http://").split(":"), timeout=20) as one:
        head = (
            "POST /api/identify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nTransfer-Encoding: chunked\r\n"
        )
        one.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        try:
            for _ in range(200):
                one.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            pass
        return one.recv(12)


def test_only_this_machine_is_answered_without_a_token():
    for host, protected in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("192.168.1.5", True)):
        limits = serve.limits_of(serve.parser().parse_args(["--gallery", "g", "--host", host]))
        assert bool(limits.token) == protected and bool(limits.hosts) != protected
    assert serve.limits_of(serve.parser().parse_args(["--gallery", "g", "--token", "mine"])).token == "mine"


def test_the_schema_is_documented(workdir):
    with served.server(served.app()) as address:
        schema = ask(address, path="/openapi.json")[1]
    assert set(schema["paths"]) >= {
        "/api/people",
        "/api/identify",
        "/api/verify",
        "/api/enrol",
        "/api/worst",
        "/api/cluster",
    }
    assert all(one.get("description") for path in schema["paths"].values() for one in path.values())
    assert "FaceFound" in schema["components"]["schemas"]


def test_many_at_once_and_too_many(workdir):
    with served.server(served.app()) as address:
        codes = []

        def one_more(k):
            codes.append(ask(address, "POST", "/api/identify", [("photo", png(k))]))

        threads = [threading.Thread(target=one_more, args=[k]) for k in range(24)]
        [one.start() for one in threads]
        [one.join() for one in threads]
    assert [code for code, _ in codes] == [200] * 24
    assert sorted(one["faces"][0]["person"] for _, one in codes if one["faces"][0]["person"]) == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    gate = threading.Event()
    worker = Worker(mosaics.reader(), waiting=2)
    worker.run(gate.wait)
    with pytest.raises(BusyError):
        [worker.read(b"") for _ in range(4)]
    gate.set()


def test_a_fault_in_the_work_ends_nothing(workdir, monkeypatch):
    gallery = served.gallery()
    with served.server(served.make_app(gallery, Limits())) as address:
        with monkeypatch.context() as broken:
            broken.setattr(gallery.reader, "read", lambda photos: (_ for _ in ()).throw(RuntimeError("boom")))
            assert _status(address) == 500
        assert _status(address) == 200


def _status(address):
    try:
        return ask(address, "POST", "/api/identify", [("photo", png(1))])[0]
    except json.JSONDecodeError:
        return 500
