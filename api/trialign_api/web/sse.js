/** Server-sent events over fetch, since EventSource cannot send an Authorization header. */

/** Yields { event, data, id } of each event of a response's body; ends where the stream does. */
export async function* events(response) {
  let event = blank();
  for await (const line of lines(response.body)) {
    if (line === "") {
      if (event.data.length) yield { ...event, data: event.data.join("\n") };
      event = { ...blank(), id: event.id };
    } else if (!line.startsWith(":")) take(event, line);
  }
}

const blank = () => ({ event: "message", data: [], id: null });

function take(event, line) {
  const at = line.indexOf(":");
  const field = at < 0 ? line : line.slice(0, at);
  const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
  if (field === "data") event.data.push(value);
  else if (field === "event") event.event = value;
  else if (field === "id") event.id = value;
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
      const parts = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
