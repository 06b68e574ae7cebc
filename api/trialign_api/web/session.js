/** The API key of this tab. It goes when the tab closes, and never into an address, a cookie or another host. */

const NAME = "trialign.key";

export const key = () => sessionStorage.getItem(NAME);
export function keep(value) {
  sessionStorage.setItem(NAME, value);
  scopes = null;
}
export function forget() {
  sessionStorage.removeItem(NAME);
  scopes = null;
}

let scopes = null;

/** Whether it is known what the key may; `know` tells it. */
export const isKnown = () => scopes !== null;
export function know(held) {
  scopes = new Set(held);
}

/** Whether the key may `read`, `submit` or `admin`: the page offers nothing that the server would refuse. */
export const may = (scope) => scopes?.has(scope) ?? false;
