"""Load on `facetrainer serve`: many clients for two minutes, then hostile uploads; the server's memory before and after.

python -m benchmarks.serve_load --gallery people --model face.tflite --photos photos --clients 32 --seconds 120 --hostile 1000

The server is started by this script on a free port of this machine, and ended by it.
"""

import argparse
import collections
import glob
import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid

import numpy as np


def post(port, path, files, timeout=120):
    """Status of one upload; 0 where the connection broke."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        connection.close()


def memory(process):
    """Resident and highest memory in MB."""
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
        lines = dict(line.split(":", 1) for line in file)
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def start(a):
    """The server, answering."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "facetrainer",
        "serve",
        "--gallery",
        a.gallery,
        "--model",
        a.model,
        "--port",
        str(port),
    ]
    process = subprocess.Popen([*command, "--rate", "1000"], stdout=subprocess.DEVNULL)
    for _ in range(120):
        time.sleep(0.5)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/api/people")
            connection.getresponse().read()
            return process, port
        except OSError:
            continue
    raise SystemExit("the server does not answer.")


def load(port, photos, clients, seconds):
    """Seconds of every request, and how many had which status."""
    times, codes, end = [], collections.Counter(), time.time() + seconds

    def client(seed):
        rng = random.Random(seed)
        while time.time() < end:
            begin = time.perf_counter()
            code = post(port, "/api/identify", [("photo", rng.choice(photos))])
            times.append(time.perf_counter() - begin)
            codes[code] += 1

    threads = [threading.Thread(target=client, args=[k]) for k in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return np.array(times), codes


def hostile(port, photos, count):
    """Uploads that are no photos, damaged ones, bombs, and requests that are none."""
    rng, codes = random.Random(0), collections.Counter()
    bomb = bytes.fromhex("89504e470d0a1a0a0000000d49484452000080000000800008060000004a0d1e5b")  # a PNG of 32768 x 32768
    for k in range(count):
        data = bytearray(rng.choice(photos))
        kind = k % 8
        if kind == 0:
            data = rng.randbytes(rng.randrange(5000))
        elif kind == 1:
            data = data[: rng.randrange(len(data))]
        elif kind == 2:
            for _ in range(20):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif kind == 3:
            data = bomb + rng.randbytes(2000)
        elif kind == 4:
            data = b"\xff\xd8" + rng.randbytes(rng.randrange(20_000))
        elif kind == 5:
            data = b""
        path = "/api/verify" if kind == 6 else "/api/identify"
        files = [(rng.choice(["photo", "first", "x" * 5000, "\u202e"]) if kind == 7 else "photo", bytes(data))]
        if k % 50 == 49:
            files = [("photo", rng.randbytes(25_000_000))]
        codes[post(port, path, files)] += 1
    return codes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--hostile", type=int, default=1000)
    a = parser.parse_args()
    photos = []
    for path in sorted(glob.glob(os.path.join(a.photos, "**", "*.jpg"), recursive=True)):
        with open(path, "rb") as file:
            photos.append(file.read())
    process, port = start(a)
    try:
        load(port, photos, 4, 10)  # all sizes of batches are compiled
        before, files = memory(process), set(os.listdir("/tmp"))
        times, codes = load(port, photos, a.clients, a.seconds)
        after = memory(process)
        speed = f"{len(times) / a.seconds:.1f} requests a second, median {np.median(times):.2f} s, 95 % {np.quantile(times, 0.95):.2f} s"
        print(f"{a.clients} clients, {a.seconds:.0f} s: {speed}, statuses {dict(codes)}", flush=True)
        print(f"memory {before[0]:.0f} -> {after[0]:.0f} MB", flush=True)
        codes = hostile(port, photos, a.hostile)
        end, alive = memory(process), process.poll() is None
        again, new = post(port, "/api/identify", [("photo", photos[0])]), sorted(set(os.listdir("/tmp")) - files)
        print(
            f"{a.hostile} hostile uploads: statuses {dict(codes)}; alive {alive}, a photo afterwards {again}",
            flush=True,
        )
        print(f"memory {end[0]:.0f} MB, highest {end[1]:.0f} MB; new files in /tmp {new}", flush=True)
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
