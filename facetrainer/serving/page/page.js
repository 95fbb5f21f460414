"use strict";
// Names and messages come from strangers: they are only ever text, never markup.
const $ = (id) => document.getElementById(id);
const make = (tag, text, kind) => {
  const one = document.createElement(tag);
  if (text !== undefined) one.textContent = text;
  if (kind) one.className = kind;
  return one;
};
const say = (text) => { $("message").textContent = text || ""; };
const form = (fields) => {
  const whole = new FormData();
  for (const [name, value] of Object.entries(fields)) whole.append(name, value);
  return whole;
};

function askForToken() {
  return new Promise((done) => {
    $("ask").onclose = () => { sessionStorage.setItem("token", $("token").value); done(); };
    $("ask").showModal();
  });
}

async function call(method, path, body) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body && !(body instanceof FormData)) { headers["Content-Type"] = "application/json"; body = JSON.stringify(body); }
  const answer = await fetch(path, { method, headers, body });
  if (answer.status === 401) { await askForToken(); return call(method, path, body); }
  if (answer.headers.get("content-type") === "image/jpeg") return answer.ok ? answer.blob() : null;
  const told = await answer.json();
  if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : "the request was not understood");
  return told;
}

const guarded = (work) => async (...given) => {
  try { say(); return await work(...given); } catch (error) { say(error.message); }
};

// ---------------------------------------------------------------- identify, correct, enrol

async function pictureOf(file) {
  try { return await createImageBitmap(file, { imageOrientation: "from-image" }); } catch { return null; }
}

function crop(picture, box) {
  const canvas = make("canvas");
  canvas.width = canvas.height = 96;
  const [x1, y1, x2, y2] = box;
  if (picture) canvas.getContext("2d").drawImage(picture, x1, y1, x2 - x1, y2 - y1, 0, 0, 96, 96);
  return canvas;
}

function drawn(picture, faces) {
  const canvas = make("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const pen = canvas.getContext("2d");
  const size = Math.max(14, Math.round(Math.min(picture.width, picture.height) / 26));
  pen.drawImage(picture, 0, 0);
  pen.font = `${size}px system-ui, sans-serif`;
  for (const face of faces) {
    const [x1, y1, x2, y2] = face.box;
    const name = face.person === null ? "unknown" : face.person;
    pen.strokeStyle = pen.fillStyle = face.person === null ? "#b0301c" : "#14632f";
    pen.lineWidth = size / 6;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const wide = pen.measureText(name).width + size / 2;
    const left = Math.max(Math.min(x1, picture.width - wide), 0);
    pen.fillRect(left, Math.max(y1 - size * 1.4, 0), wide, size * 1.4);
    pen.fillStyle = "#fff";
    pen.fillText(name, left + size / 4, Math.max(y1 - size * 0.35, size));
  }
  return canvas;
}

function faceLine(file, picture, face, number, again) {
  const line = make("div", undefined, "face");
  const near = face.nearest.map((one) => `${one.person} ${one.cosine.toFixed(3)}`).join(", ");
  const who = make("div");
  who.append(make("span", face.person === null ? "unknown" : face.person, face.person === null ? "unknown" : "known"));
  who.append(make("small", `nearest: ${near || "nobody"}; quality ${face.quality.toFixed(2)}`));
  line.append(crop(picture, face.box), who);
  const name = make("input");
  name.type = "text";
  name.placeholder = face.person === null ? "name" : "another name";
  name.setAttribute("aria-label", "name of this face");
  const button = make("button", face.person === null ? "Enrol" : "Correct");
  button.onclick = guarded(async () => {
    const sure = face.person !== null && name.value.trim() !== face.person;
    const found = await call("POST", "api/enrol", form({ photo: file, name: name.value, face: number, force: sure }));
    await again();
    say(`${found.person} is known by ${found.photos} photos now.`);
  });
  line.append(name, button);
  return line;
}

async function showPhoto(file) {
  const place = make("div", undefined, "photo");
  $("found").prepend(place);
  const show = async () => {
    const [found, picture] = await Promise.all([call("POST", "api/identify", form({ photo: file })), pictureOf(file)]);
    place.replaceChildren(make("h2", file.name));
    if (picture) place.append(drawn(picture, found.faces));
    if (!found.faces.length) place.append(make("p", "no face found"));
    found.faces.forEach((face, number) => place.append(faceLine(file, picture, face, number, show)));
    place.append(make("small", found.threshold));
  };
  try { await show(); } catch (error) { place.replaceChildren(make("h2", file.name), make("p", error.message, "unknown")); }
}

const identify = guarded(async (files) => { for (const file of files) await showPhoto(file); });

// ---------------------------------------------------------------- compare

const compare = guarded(async () => {
  const [first, second] = [$("first").files[0], $("second").files[0]];
  if (!first || !second) return;
  const found = await call("POST", "api/verify", form({ first, second }));
  const answer = { true: "The same person", false: "Not the same person", null: "Not told" }[String(found.same)];
  const chance = found.probability === null ? "" : `, probability ${found.probability.toFixed(4)}`;
  $("verdict").textContent = `${answer}: cosine ${found.cosine.toFixed(4)}${chance}. ${found.threshold}`;
});

// ---------------------------------------------------------------- people, worst pairs

async function small(name, number) {
  const blob = await call("GET", `api/people/${encodeURIComponent(name)}/photos/${number}`).catch(() => null);
  if (!blob) return make("span");
  const image = make("img");
  image.alt = name;
  image.src = URL.createObjectURL(blob);
  return image;
}

const people = guarded(async () => {
  const found = await call("GET", "api/people");
  $("threshold").textContent = `${found.people.length} people; ${found.threshold}`;
  $("list").replaceChildren();
  const shown = 300;
  if (found.people.length > shown) say(`the first ${shown} of ${found.people.length} people`);
  for (const one of found.people.slice(0, shown)) {
    const row = $("list").insertRow();
    row.insertCell().append(await small(one.name, 0));
    row.insertCell().append(make("span", one.name, "known"));
    row.insertCell().append(one.photos === 1 ? "1 photo" : `${one.photos} photos`);
    const name = make("input");
    name.type = "text";
    name.setAttribute("aria-label", `new name of ${one.name}`);
    const rename = make("button", "Rename");
    rename.onclick = guarded(async () => {
      await call("POST", `api/people/${encodeURIComponent(one.name)}/rename`, { name: name.value });
      await people();
    });
    const forget = make("button", "Forget");
    forget.onclick = guarded(async () => {
      if (!confirm(`Forget ${one.name}?`)) return;
      await call("DELETE", `api/people/${encodeURIComponent(one.name)}`);
      await people();
    });
    row.insertCell().append(name, rename, forget);
  }
});

const worst = guarded(async () => {
  const found = await call("GET", "api/worst");
  for (const kind of ["alike", "unlike"]) {
    $(kind).replaceChildren();
    for (const pair of found[kind]) {
      const row = $(kind).insertRow();
      row.insertCell().append(await small(pair.first, 0), pair.first);
      const second = row.insertCell();
      if (kind === "alike") second.append(await small(pair.second, 0));
      second.append(pair.second);
      row.insertCell().append(`cosine ${pair.cosine.toFixed(3)}`);
    }
  }
});

// ---------------------------------------------------------------- albums

const cluster = guarded(async (files) => {
  const whole = new FormData();
  for (const file of files) whole.append("photos", file);
  const found = await call("POST", "api/cluster", whole);
  $("groups").replaceChildren();
  for (const [number, group] of found.groups.entries()) {
    const place = make("div", undefined, "group");
    place.append(make("h2", `Person ${number + 1}, ${group.length} faces`));
    const names = new Set();
    for (const [photo] of group) names.add(files[photo].name);
    for (const name of names) {
      const file = [...files].find((one) => one.name === name);
      const picture = await pictureOf(file);
      if (!picture) continue;
      const canvas = make("canvas");
      canvas.height = 144;
      canvas.width = Math.round((144 * picture.width) / picture.height);
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      place.append(canvas);
    }
    place.append(make("p", [...names].join(", ")));
    $("groups").append(place);
  }
  for (const [number, reason] of Object.entries(found.errors)) $("groups").append(make("p", `${files[number].name}: ${reason}`, "unknown"));
});

// ---------------------------------------------------------------- the page

const views = { people, worst };
for (const button of document.querySelectorAll("nav button")) {
  button.onclick = () => {
    for (const one of document.querySelectorAll("nav button")) one.classList.toggle("here", one === button);
    for (const one of document.querySelectorAll("main > section")) one.hidden = one.id !== button.dataset.view;
    say();
    if (views[button.dataset.view]) views[button.dataset.view]();
  };
}
const inputs = { photos: identify, album: cluster, first: compare, second: compare };
for (const [id, work] of Object.entries(inputs)) {
  $(id).onchange = () => work($(id).files);
  const drop = $(id).closest(".drop");
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  drop.ondragleave = () => drop.classList.remove("over");
  drop.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    $(id).files = event.dataTransfer.files;
    work(event.dataTransfer.files);
  };
}
