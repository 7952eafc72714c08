/** The page's one style sheet: light and dark, from a phone's width upwards. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f5f3; --panel: #ffffff; --ink: #1b211f; --muted: #55605c; --line: #d8ddda; --edge: #78847f;
  --accent: #0b6b5d; --accent-over: #08564b; --on-accent: #ffffff;
  --low: #a8341f; --soft: #e6f0ed; --code: #f0f2f0; --status: #1b211f; --on-status: #ffffff;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131716; --panel: #1c2221; --ink: #e7ecea; --muted: #a4b0ab; --line: #343d3a; --edge: #7d8a85;
    --accent: #5cc8b3; --accent-over: #84dac9; --on-accent: #06211c;
    --low: #ff9b85; --soft: #21332f; --code: #151a19; --status: #e7ecea; --on-status: #131716;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
}
header, main { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
h2:focus { outline: none; }
p { margin: 0 0 .75rem; }
.lead { max-width: 42rem; margin: .5rem 0 0; color: var(--muted); }
.note { color: var(--muted); font-size: .9rem; }
main { padding-top: 1.5rem; padding-bottom: 6rem; }
.columns, .column { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
section { padding: 1.25rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; }
label { display: block; margin-bottom: .25rem; font-weight: 600; }
input {
  width: 100%; min-height: 2.75rem; padding: .4rem .7rem; font: inherit; color: inherit;
  background: var(--panel); border: 1px solid var(--edge); border-radius: .35rem;
}
::placeholder { color: var(--muted); opacity: 1; }
button {
  min-height: 2.75rem; padding: .4rem 1rem; font: inherit; font-weight: 600; cursor: pointer;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .35rem;
}
button:hover { background: var(--accent-over); border-color: var(--accent-over); }
button.plain { color: var(--ink); background: var(--panel); border-color: var(--edge); }
button.plain:hover { background: var(--soft); }
button[aria-disabled=true] { opacity: .6; cursor: progress; }
:is(input, button, pre, a):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.field { margin-bottom: 1rem; }
.field p { margin: .35rem 0 0; }
a { color: var(--accent); }
#change { margin-top: 1.25rem; }
.inline { display: flex; gap: .5rem; }
.inline input { flex: 1; min-width: 0; }
.buttons form { display: contents; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: 1.25rem; }
.left { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 .75rem; margin: 0 0 .35rem; }
.left strong { font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.low strong { color: var(--low); }
progress { -webkit-appearance: none; appearance: none; display: block; width: 100%; height: .6rem; border: 0; border-radius: .3rem; overflow: hidden; background: var(--line); color: var(--accent); }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.low progress::-webkit-progress-value { background: var(--low); }
.low progress::-moz-progress-bar { background: var(--low); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35rem 1rem; margin: 1.25rem 0 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
code, pre, .mono { font-family: var(--mono); font-size: .875rem; }
code { overflow-wrap: anywhere; }
pre { margin: 0 0 .75rem; padding: .75rem; max-height: 26rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code); border: 1px solid var(--line); border-radius: .35rem; }
.result { margin: 1rem 0 0; padding: .75rem; background: var(--soft); border-radius: .35rem; font-size: .9rem; }
#why { margin: 0 0 1rem; }
.result p { margin: 0; }
.result p + p { margin-top: .25rem; }
ol { margin: 0; padding-left: 1.25rem; }
li + li { margin-top: .5rem; }
.cells { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .35rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.cells li { margin: 0; padding: .3rem 0; text-align: center; border: 1px dashed var(--edge); border-radius: .35rem; font-size: .875rem; font-variant-numeric: tabular-nums; }
.cells li.sent { border-style: solid; }
.cells li.kept { border: 1px solid var(--accent); background: var(--soft); }
.cells li.lost { border: 2px solid var(--low); color: var(--low); }
#devices { margin: 0 0 1.25rem; padding: 0; list-style: none; border-bottom: 1px solid var(--line); }
#devices li { display: flex; align-items: center; justify-content: space-between; gap: 1rem; margin: 0; padding: .75rem 0; border-top: 1px solid var(--line); }
#devices p { margin: 0; min-width: 0; overflow-wrap: anywhere; }
#devices form { flex: none; }
.badge { display: inline-block; margin-left: .35rem; padding: 0 .5rem; border-radius: 1rem; background: var(--soft); font-size: .8rem; }
#status {
  position: fixed; z-index: 1; left: 50%; bottom: 1rem; transform: translateX(-50%); width: max-content; max-width: calc(100% - 2rem);
  margin: 0; padding: .6rem 1rem; border-radius: .35rem; background: var(--status); color: var(--on-status); overflow-wrap: anywhere;
  pointer-events: none;
}
#status:empty { padding: 0; }
@media (min-width: 56rem) {
  .columns { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
}
@media (max-width: 24rem) {
  section { padding: 1rem; }
  dl { column-gap: .75rem; }
  dd.mono { font-size: .8rem; line-height: 1.875; }
  .buttons button { flex: 1 1 auto; }
  .buttons form:first-child button { flex-basis: 100%; }
}
@media (prefers-reduced-motion: no-preference) {
  button { transition: background-color .12s, border-color .12s; }
}
`
