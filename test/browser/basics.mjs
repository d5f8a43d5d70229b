// What a page must have for those who hear it, who have no mouse, or thick fingers.

// basics gives what is wrong with a page: controls smaller than so many pixels,
// without a name or out of the keyboard's reach, texts that are hard to read, and what
// does not fit on the screen.
export const basics = (page, smallest, more = "dt, dd, td, th, summary, .text, .tag") => page.evaluate(([smallest, more]) => {
  const wrong = [];
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (el) => {
    for (; el; el = el.parentElement) {
      const c = rgb(getComputedStyle(el).backgroundColor);
      if (c.length === 3) return c;
    }
    return [255, 255, 255];
  };
  const controls = [...document.querySelectorAll("button, input, select, a, summary")].filter((el) => el.checkVisibility());
  for (const el of controls) {
    if (!(el.ariaLabel || el.textContent).trim()) wrong.push(`no name: ${el.outerHTML}`);
    if (el.tabIndex < 0) wrong.push(`not reached by the keyboard: ${el.outerHTML}`);
    const { width, height } = el.getBoundingClientRect();
    if (Math.min(width, height) < smallest) wrong.push(`${width} by ${height}: ${el.outerHTML}`);
  }
  const names = controls.filter((el) => el.matches("button")).map((el) => el.ariaLabel || el.textContent);
  for (const name of new Set(names)) if (names.filter((n) => n === name).length > 1) wrong.push(`two buttons: ${name}`);
  for (const el of document.querySelectorAll(`h1, h2, h3, p, small, time, b, button, label, #state, ${more}`)) {
    if (!el.checkVisibility() || !el.textContent || el.ariaDisabled === "true") continue;
    const a = luminance(rgb(getComputedStyle(el).color)), b = luminance(behind(el));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(2)}: ${el.outerHTML.slice(0, 200)}`); // WCAG 2.2, 1.4.3
  }
  for (const el of document.querySelectorAll('[role="meter"]')) if (!el.ariaLabel || !el.ariaValueNow || !el.ariaValueMax) wrong.push(el.outerHTML);
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) wrong.push(`${wide} px wider than the screen`);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
  if (new Set(ids).size < ids.length) wrong.push("two elements have one id");
  return wrong;
}, [smallest, more]);
