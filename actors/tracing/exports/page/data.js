// What html.py has put into the page: a head in JSON, and columns of numbers, packed and in base64.

const ARRAYS = { f8: Float64Array, i4: Int32Array };

// Gives the page time to draw and to answer.
const breathe = () => new Promise((resolve) => setTimeout(resolve, 0));

// How much base64 is decoded before the page may answer; a multiple of 4.
const SLICE = 4 << 20;

// For browsers that are older than Uint8Array.fromBase64.
function decoded(text) {
  const letters = atob(text);
  const found = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
  return found;
}

async function bytesOf(text) {
  const parts = [];
  for (let at = 0; at < text.length; at += SLICE) {
    const slice = text.slice(at, at + SLICE);
    parts.push(Uint8Array.fromBase64 ? Uint8Array.fromBase64(slice) : decoded(slice));
    await breathe();
  }
  return new Blob(parts);
}

// Takes the text out of the page, so that it is not kept twice, and unpacks it.
async function unpacked(node) {
  const text = node.textContent;
  node.remove();
  const packed = await bytesOf(text);
  return new Response(packed.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

// All tables: {messages: {count, number: Float64Array, ...}, ...}, and the strings that their columns name.
async function readData(progress) {
  const head = JSON.parse(byId("head").textContent);
  const nodes = [...document.querySelectorAll("script[data-column]")];
  const size = nodes.reduce((sum, node) => sum + node.textContent.length, 0);
  const tables = {};
  let strings = [];
  let done = 0;
  for (const node of nodes) {
    const { column, type } = node.dataset;
    const length = node.textContent.length;
    const buffer = await unpacked(node);
    if (type === "json") strings = JSON.parse(new TextDecoder().decode(buffer));
    else {
      const [table, name] = column.split(".");
      const values = new ARRAYS[type](buffer);
      tables[table] = Object.assign(tables[table] ?? {}, { count: values.length, [name]: values });
    }
    done += length;
    progress(done / size);
  }
  return { head, tables, strings };
}
