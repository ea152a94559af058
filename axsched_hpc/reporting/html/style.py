"""The look of a report: light and dark, wide and narrow, on a screen and on paper.

Colours are from M. Okabe and K. Ito, "Color Universal Design" (2008), which colour-blind people tell apart;
darker or lighter where the ground makes that necessary. What they mean is also told by shape or hatching.
"""

from __future__ import annotations

from axsched_hpc.reporting.html.elements import Html

CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1a2027;--soft:#55606b;--rule:#d5dbe1;--card:#f4f6f8;
--done:#0072b2;--lost:#c44f00;--stop:#9c4580;--run:#00805d;--wait:#8b95a0;--back:#a87900;--best:#d55e00;
--q0:#08306b;--q1:#1c6cb1;--q2:#5a9fd0;--q3:#9dbfdd;--q4:#c6d0da;--link:#0a5fa5}
@media (prefers-color-scheme:dark){:root{--bg:#10151a;--fg:#e5ebf1;--soft:#a0acb8;--rule:#303a44;
--card:#19212a;--done:#56b4e9;--lost:#ff8c4a;--stop:#e29ac5;--run:#35c79f;--wait:#74808c;--back:#e6b422;
--best:#ffa15c;--q0:#d4ecff;--q1:#7cc0f2;--q2:#3f8ac6;--q3:#2c5f8c;--q4:#2a3d50;--link:#7cc0f2}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;max-width:1180px;padding:0 20px 48px;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:28px 0 4px;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:44px 0 10px;padding-top:10px;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:0 0 6px}
p{margin:6px 0;max-width:75ch;overflow-wrap:anywhere}
a{color:var(--link)}
code{font:.92em ui-monospace,"DejaVu Sans Mono","Liberation Mono",monospace;overflow-wrap:anywhere}
.soft,.note{color:var(--soft)}
.note{font-size:.88rem}
.hidden,.skip:not(:focus){position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
nav ul,.legend{list-style:none;margin:10px 0;padding:0;display:flex;flex-wrap:wrap;gap:4px 18px}
.legend{margin:4px 0;font-size:.88rem;gap:2px 16px}
.legend svg{vertical-align:-2px;margin-right:2px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:10px;
margin:16px 0;padding:0}
.cards>div{background:var(--card);border-radius:8px;padding:10px 14px;min-width:0}
.cards dt{color:var(--soft);font-size:.85rem}
.cards dd{margin:0;font-size:1.3rem;font-weight:600;line-height:1.25;overflow-wrap:anywhere}
.cards dd+dd{font-size:.85rem;font-weight:400;color:var(--soft);line-height:1.35;margin-top:2px}
.states{display:flex;height:14px;border-radius:7px;overflow:hidden;width:100%}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:26px 30px;
align-items:start}
figure{margin:0;min-width:0}
figure.wide{grid-column:1/-1}
svg{display:block;width:100%;height:auto}
svg.place{display:inline-block;width:80px;height:12px}
.legend svg{display:inline-block;width:18px;height:14px}
svg.states{height:16px;border-radius:8px;background:var(--card)}
svg text{fill:var(--soft);font-size:13px}
svg text.name{fill:var(--fg)}
svg text.small{font-size:11px}
svg text.halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
svg text.strong{fill:var(--fg);font-weight:600}
.grid{stroke:var(--rule);stroke-width:1}
.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.dots{fill:none;stroke-linecap:round;opacity:.75}
.stroke{fill:none}
circle.done,rect.done,.area.done{fill:var(--done)} .line.done,.dots.done,.stroke.done{stroke:var(--done)}
circle.off{fill:var(--bg);stroke:var(--stop);stroke-width:1.5} .line.off,.dots.off{stroke:var(--stop)}
circle.stop,rect.stop{fill:var(--stop)} .line.stop,.dots.stop,.stroke.stop{stroke:var(--stop)}
circle.run,rect.run{fill:var(--run)} .line.run,.dots.run,.stroke.run{stroke:var(--run)}
rect.wait{fill:var(--wait)} .line.wait,.stroke.wait{stroke:var(--wait)}
rect.lost{fill:url(#lost);stroke:var(--lost);stroke-width:1} .line.lost,.dots.lost{stroke:var(--lost)}
.stroke.lost{stroke:url(#lost)}
rect.back{fill:url(#back);stroke:var(--back);stroke-width:1} .line.back{stroke:var(--back)}
.stroke.back{stroke:url(#back)}
pattern .lost{stroke:var(--lost);stroke-width:3} pattern .back{stroke:var(--back);stroke-width:3}
pattern rect{fill:var(--bg);stroke:none}
circle.done,.dots.done{opacity:.8}
.area{opacity:.3}.area.wait{fill:var(--wait)}.area.run{fill:var(--run)}
.line.top{stroke:var(--best);stroke-width:2.4}
.best{fill:var(--best);stroke:var(--bg);stroke-width:1.5}
.line.q0{stroke:var(--q0)}.line.q1{stroke:var(--q1)}.line.q2{stroke:var(--q2)}.line.q3{stroke:var(--q3)}
.line.q4{stroke:var(--q4)}

rect.q0{fill:var(--q0)}rect.q1{fill:var(--q1)}rect.q2{fill:var(--q2)}rect.q3{fill:var(--q3)}rect.q4{fill:var(--q4)}
.line.stop{stroke-dasharray:6 3}
.line.lost.faint{stroke-dasharray:2 3}
.faint{opacity:.55}
.band{fill:var(--done);opacity:.18}
path.line:hover{stroke-width:3.2;opacity:1}
circle:hover,rect:hover{stroke:var(--fg);stroke-width:2}
.scroll{overflow-x:auto;max-width:100%}
.scroll:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;font-size:.9rem;margin:4px 0}
caption{text-align:left;color:var(--soft);font-size:.88rem;padding:2px 0}
th,td{padding:3px 12px 3px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);
max-width:34rem;overflow-wrap:break-word}
thead th{font-weight:600;color:var(--soft);vertical-align:bottom}
tbody th{font-weight:500}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
details{margin:4px 0}
summary{cursor:pointer;color:var(--link);font-size:.9rem;width:fit-content}
details .scroll{max-height:22rem;overflow:auto}
footer{margin-top:48px;border-top:1px solid var(--rule);padding-top:8px;color:var(--soft);font-size:.88rem}
@media (max-width:640px){body{padding:0 14px 32px;font-size:15px}.wide .scroll>svg{min-width:640px}
svg text{font-size:15px}.cards{grid-template-columns:repeat(auto-fill,minmax(138px,1fr))}h1{font-size:1.4rem}
th,td{max-width:16rem}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--soft:#444;--rule:#ccc;--card:#f4f4f4;
--done:#0072b2;--lost:#c44f00;--stop:#9c4580;--run:#00805d;--wait:#8b95a0;--back:#a87900;--best:#d55e00;--q0:#08306b;
--q1:#1c6cb1;--q2:#5a9fd0;--q3:#9dbfdd;--q4:#c6d0da;--link:#000}
body{max-width:none;padding:0;font-size:10.5pt}nav,details:not([open]),.skip{display:none}
figure,.cards>div,tr{break-inside:avoid}h2,h3{break-after:avoid}
.figures{grid-template-columns:1fr 1fr}
.scroll,details .scroll{overflow:visible;max-height:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""".strip()

#: What failed and what was put back is hatched, each in its own direction; once for all figures.
PATTERNS = Html(
    '<svg aria-hidden="true" width="0" height="0" class="hidden"><defs>'
    '<pattern id="lost" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6"/><line class="lost" x1="0" y1="0" x2="0" y2="6"/></pattern>'
    '<pattern id="back" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<rect width="6" height="6"/><line class="back" x1="0" y1="0" x2="0" y2="6"/></pattern>'
    "</defs></svg>"
)
