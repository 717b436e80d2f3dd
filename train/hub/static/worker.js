// Runs the model away from the page, which stays responsive meanwhile. It is told {start: facts} once, then {id, file} for
// each photo; it tells {loaded, total} in bytes, {ready: engine} or {failed: reason}, and {id, answer, thumbnail} or
// {id, error}, which is empty where the browser can't decode the photo.
import {networkInput} from './photo.js';

const THUMBNAIL = 160; // px, the shorter side
const TOP = 5;
const GPU_TOLERANCE = 0.02; // of the largest logit: some drivers compute something else
const THREADS = 4;

let session, ort, facts;

self.onmessage = async ({data}) => {
  if (data.start) {
    facts = data.start;
    try {
      self.postMessage({ready: await start()});
    } catch (error) {
      self.postMessage({failed: String(error?.message ?? error)});
    }
    return;
  }
  const {id, file} = data;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) {
    self.postMessage({id, error: ''});
    return;
  }
  try {
    const thumbnail = await small(bitmap);
    self.postMessage({id, answer: await answer(file, bitmap), thumbnail}, [thumbnail]);
  } catch (error) {
    self.postMessage({id, error: String(error?.message ?? error)});
  } finally {
    bitmap.close();
  }
};

// Loads the model with the GPU's runtime or the CPU's; returns which.
async function start() {
  const adapter = 'Suspending' in WebAssembly ? await navigator.gpu?.requestAdapter().catch(() => null) : null;
  const hasGpu = adapter && !adapter.info.isFallbackAdapter; // which is the CPU, and slow
  const {model, runtimes} = facts.files;
  const total = model.bytes + runtimes[hasGpu ? 'webgpu' : 'wasm'].bytes;
  let loaded = 0;
  const count = bytes => self.postMessage({loaded: Math.min(loaded += bytes, total), total});
  const graph = await downloaded(model.path, count);
  if (hasGpu) {
    try {
      return await open('webgpu', graph, count);
    } catch (error) {
      console.warn(`The CPU computes, since the GPU fails: ${error?.message ?? error}`);
    }
  }
  return open('wasm', graph, count);
}

async function open(kind, graph, count) {
  const {script, binary} = facts.files.runtimes[kind];
  const wasm = await unpacked(await downloaded(binary, count));
  ort = await import(`./${script}`);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(THREADS, navigator.hardwareConcurrency) : 1;
  session = await ort.InferenceSession.create(graph, {executionProviders: [kind], logSeverityLevel: 3});
  if (kind === 'webgpu') await check();
  return kind;
}

// Compares the GPU's logits for a made-up image with those that were computed when the page was made.
async function check() {
  const {logits} = facts.check, area = 3 * facts.input.size[0] * facts.input.size[1];
  const {logits: computed} = await run(Float32Array.from({length: area}, (_, i) => i * 7919 % 1009 / 504.5 - 1));
  const largest = Math.max(...logits.map(Math.abs));
  const off = Math.max(...logits.map((value, i) => Math.abs(value - computed[i])));
  if (!(off <= GPU_TOLERANCE * largest)) throw new Error(`its logits are off by ${off}`);
}

async function run(values) {
  const tensor = new ort.Tensor('float32', values, [1, 3, ...facts.input.size]);
  const results = await session.run({pixel_values: tensor});
  return Object.fromEntries(await Promise.all(
    Object.entries(results).map(async ([name, output]) => [name, await output.getData()])));
}

async function answer(file, bitmap) {
  const start = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const isJpeg = start[0] === 0xff && start[1] === 0xd8 && start[2] === 0xff;
  const {logits, scale, score} = await run(networkInput(bitmap, isJpeg, facts.input));
  const shares = softmax(logits, (scale?.[0] ?? 1) / facts.temperature);
  const best = [...shares.keys()].sort((one, other) => shares[other] - shares[one]).slice(0, TOP);
  return {candidates: best.map(index => ({index, score: shares[index]})), known: score[0] >= facts.threshold};
}

function small(bitmap) {
  const side = bitmap.width < bitmap.height ? 'resizeWidth' : 'resizeHeight';
  return createImageBitmap(bitmap, {[side]: THUMBNAIL, resizeQuality: 'medium'});
}

function softmax(logits, factor) {
  const largest = logits.reduce((one, other) => Math.max(one, other));
  const powers = Array.from(logits, logit => Math.exp((logit - largest) * factor));
  const sum = powers.reduce((one, other) => one + other);
  return powers.map(power => power / sum);
}

async function downloaded(path, count) {
  const response = await fetch(path).catch(() => { throw new Error(`${path} can't be reached.`); });
  if (!response.ok) throw new Error(`${path} isn't there (${response.status}).`);
  const chunks = [], reader = response.body.getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    chunks.push(value);
    count(value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

// The content of a gzip file; of one that the server has unpacked already, as it is.
async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}
