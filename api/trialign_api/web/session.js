/** The API key of this tab. It goes when the tab closes, and never into an address, a cookie or another host. */

const NAME = "trialign.key";

export const key = () => sessionStorage.getItem(NAME);
export const keep = (value) => sessionStorage.setItem(NAME, value);
export const forget = () => sessionStorage.removeItem(NAME);
