// Reads images of a store through one library, and prints what it found as a JSON array: node read.mjs READER URL Z …

import { createHash } from "node:crypto";

const [reader, ...images] = process.argv.slice(2);

const digest = ({ buffer, byteOffset, byteLength }) =>
  createHash("sha256").update(new Uint8Array(buffer, byteOffset, byteLength)).digest("hex");

async function readWithZarrita(library, url) {
  const zarr = await import(library);
  const root = zarr.root(new zarr.FetchStore(url));
  const { attrs } = await zarr.open(root, { kind: "group" });
  const { datasets } = attrs.ome.multiscales[0];
  const levels = [];
  for (const { path } of datasets) {
    const array = await zarr.open(root.resolve(path), { kind: "array" });
    levels.push({ shape: array.shape, sha256: digest((await zarr.get(array)).data) });
  }
  const positions = {};
  for (const axis of "yx") {
    const array = await zarr.open(root.resolve(`scale0/${axis}`), { kind: "array" });
    positions[axis] = Array.from((await zarr.get(array)).data);
  }
  return { levels, positions };
}

async function readWithViv(url, z) {
  const { loadOmeZarr } = await import("@vivjs/loaders");
  const { data } = await loadOmeZarr(url, { type: "multiscales" });
  const levels = [];
  for (const source of data) {
    const planes = [];
    for (const c of Array(source.shape[0]).keys()) {
      const { data: pixels, width, height } = await source.getRaster({ selection: { c, z: z } });
      planes.push({ width, height, sha256: digest(pixels) });
    }
    const selection = { c: 0, z: z };
    const tile = await source.getTile({ x: 0, y: 0, selection });
    levels.push({
      shape: source.shape,
      labels: source.labels,
      planes,
      tile: { side: source.tileSize, width: tile.width, height: tile.height, sha256: digest(tile.data) },
    });
  }
  return { levels };
}

async function readWithNgffZarr(url) {
  const { fromNgffZarr } = await import("@fideus-labs/ngff-zarr");
  const zarr = await import("zarrita-0.6");
  const { images } = await fromNgffZarr(url, { validate: true, version: "0.5" });
  const levels = [];
  for (const { data, dims, scale, translation, axesUnits, axesOrientations } of images) {
    const array = await zarr.open(zarr.root(new zarr.FetchStore(`${url}/${data.path.replace(/^\//, "")}`)), { kind: "array" });
    levels.push({ shape: data.shape, dims, scale, translation, axesUnits, axesOrientations, sha256: digest((await zarr.get(array)).data) });
  }
  return { levels };
}

async function readWithOmeZarrJs(url, z) {
  const { NgffImage } = await import("ome-zarr.js");
  const image = await NgffImage.load(url);
  const { data, width, height } = await image.renderRgba({ arrayPathOrIndex: 0, slices: { z: z } });
  return { axes: image.axes, scales: image.scales, width, height, sha256: digest(data) };
}

const readers = {
  "zarrita-0.5": (url) => readWithZarrita("zarrita-0.5", url),
  "zarrita-0.6": (url) => readWithZarrita("zarrita-0.6", url),
  "zarrita-0.7": (url) => readWithZarrita("zarrita", url),
  viv: readWithViv,
  "ngff-zarr": readWithNgffZarr,
  "ome-zarr.js": readWithOmeZarrJs,
};

const found = [];
for (let i = 0; i < images.length; i += 2) {
  found.push(await readers[reader](images[i], Number(images[i + 1])));
}
// connections that are kept alive would keep the process waiting
process.stdout.write(JSON.stringify(found), () => process.exit(0));
