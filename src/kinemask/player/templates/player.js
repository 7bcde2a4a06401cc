"use strict";
// Moving skeletons: clips, or what is predicted of them, side by side; they play, turn and grow together.
(() => {
  const MASKED = "0", KEPT = "1", UNUSED = "2";
  const SIDES = { l: "left", r: "right", m: "bone" };
  const STEEPEST = 1.4, NEAREST = 8;

  const unpack = (text, unit) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true) * unit);
  };
  const between = (low, value, high) => Math.max(low, Math.min(high, value));

  const colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["kept", "masked", "true", "predicted", "unused", "bone", "left", "right", "rule", "raised"]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
  };

  // A clip of a scene, and the room that it takes.
  class Clip {
    constructor(scene, clip) {
      this.scene = scene;
      this.T = clip.T;
      this.rate = clip.rate;
      this.bodies = clip.bodies.map((b) => ({
        x: b.x ?? unpack(b.positions, clip.unit),
        seen: b.seen,
        state: b.state ?? "",
        true: b.true && unpack(b.true, clip.arrow),
        predicted: b.predicted && unpack(b.predicted, clip.arrow),
        rebuilt: b.rebuilt && unpack(b.rebuilt, clip.far),
        saliency: b.saliency,
        attention: b.attention,
      }));
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      this.each((p) => {
        for (let i = 0; i < 3; i++) {
          low[i] = Math.min(low[i], p[i]);
          high[i] = Math.max(high[i], p[i]);
        }
      });
      if (low[0] > high[0]) low.fill(0), high.fill(0);
      this.low = low;
      this.middle = low.map((v, i) => (v + high[i]) / 2);
      this.reach = Math.max(Math.hypot(high[0] - low[0], high[2] - low[2]), 1e-6);
      this.height = Math.max(high[1] - low[1], 1e-6);
      this.gain = clip.typical ? (0.14 * this.height) / clip.typical : 1; // of arrows
    }

    each(visit) {
      for (const body of this.bodies) {
        for (let t = 0; t < this.T; t++) {
          for (let v = 0; v < this.scene.joints; v++) if (this.drawn(body, t, v)) visit(this.point(body.x, t, v));
        }
      }
    }

    seen(body, t, v) {
      return !body.seen || body.seen[t * this.scene.joints + v] === "1";
    }

    drawn(body, t, v) {
      return this.scene.filled || this.seen(body, t, v);
    }

    point(values, t, v) {
      const C = this.scene.dims, at = (t * this.scene.joints + v) * C;
      return [values[at], values[at + 1], C === 3 ? values[at + 2] : 0];
    }

    turn(p, yaw, pitch) {
      const [x, y, z] = p.map((v, i) => v - this.middle[i]);
      const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
      return [cy * x + sy * z, cp * y - sp * (cy * z - sy * x)];
    }

    // the box, on the screen, of everything that moves
    fit(yaw, pitch) {
      this.box = [Infinity, Infinity, -Infinity, -Infinity];
      this.each((p) => {
        const [a, b] = this.turn(p, yaw, pitch);
        this.box = [Math.min(this.box[0], a), Math.min(this.box[1], b), Math.max(this.box[2], a), Math.max(this.box[3], b)];
      });
      if (this.box[0] > this.box[2]) this.box = [0, 0, 0, 0];
    }
  }

  class Player {
    constructor(figure, scene) {
      Object.assign(this, { figure, scene, tick: 0, speed: 1, playing: false, wanted: true, pointers: new Map() });
      this.panes = [...figure.querySelectorAll(".view")].map((view) => {
        const clip = scene.clips[Number(view.dataset.clip)];
        clip.made ??= new Clip(scene, clip);
        return { view, clip: clip.made, shows: view.dataset.shows, canvas: this.replace(view) };
      });
      this.clips = [...new Set(this.panes.map((pane) => pane.clip))];
      this.rate = Math.max(...this.clips.map((clip) => clip.rate)); // ticks a second
      this.ticks = Math.max(...this.clips.map((clip) => Math.ceil((clip.T * this.rate) / clip.rate - 1e-6)));
      this.controls = figure.querySelector(".controls");
      this.slider = figure.querySelector("input");
      this.output = figure.querySelector("output");
      this.select = figure.querySelector("select");
      this.button = figure.querySelector(".play");
      this.slider.max = this.ticks - 1;
      this.look();
      this.listen();
      this.controls.hidden = false;
    }

    replace(view) {
      const still = view.querySelector("svg"), canvas = document.createElement("canvas");
      for (const name of ["role", "aria-label"]) canvas.setAttribute(name, still.getAttribute(name));
      still.replaceWith(canvas);
      return canvas;
    }

    look() {
      const solid = this.scene.dims === 3;
      this.yaw = solid ? Math.PI + 0.5 : 0; // sensors see people from -z
      this.pitch = solid ? 0.18 : 0;
      this.zoom = 1;
      this.shift = [0, 0]; // in widths of a picture
      this.fit();
    }

    fit() {
      this.clips.forEach((clip) => clip.fit(this.yaw, this.pitch));
    }

    // what people do

    listen() {
      const does = {
        play: () => (this.playing ? this.pause() : this.play()),
        back: () => this.go(this.tick - 1),
        on: () => this.go(this.tick + 1),
        smaller: () => this.grow(1 / 1.25),
        larger: () => this.grow(1.25),
        reset: () => this.reset(),
      };
      for (const button of this.controls.querySelectorAll("button")) {
        button.addEventListener("click", does[button.dataset.does]);
      }
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      this.select.addEventListener("change", () => (this.speed = Number(this.select.value)));
      this.figure.addEventListener("keydown", (event) => this.key(event, does));
      for (const { canvas } of this.panes) {
        canvas.addEventListener("pointerdown", (event) => {
          canvas.setPointerCapture(event.pointerId);
          this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
        });
        for (const over of ["pointerup", "pointercancel", "lostpointercapture"]) {
          canvas.addEventListener(over, (event) => this.pointers.delete(event.pointerId));
        }
        canvas.addEventListener("pointermove", (event) => this.drag(event, canvas));
        canvas.addEventListener(
          "wheel",
          (event) => {
            if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
            event.preventDefault();
            this.grow(Math.exp(-event.deltaY * 0.01));
          },
          { passive: false },
        );
      }
    }

    drag(event, canvas) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY], [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      this.pointers.set(event.pointerId, now);
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
      if (others.length) {
        const [, other] = others[0];
        const far = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
        this.grow(far(now) / far(before));
        this.move(dx / 2, dy / 2, canvas);
      } else if (this.scene.dims === 3 && !event.shiftKey) this.turn(dx * 0.01, dy * 0.01);
      else this.move(dx, dy, canvas);
    }

    key(event, does) {
      const { target } = event, name = target.tagName;
      if (event.altKey || event.ctrlKey || event.metaKey || name === "SELECT") return;
      const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (arrow && event.shiftKey) {
        if (this.scene.dims === 3) this.turn(arrow[0] * 0.15, arrow[1] * 0.15);
        else this.move(arrow[0] * 20, arrow[1] * 20, this.panes[0].canvas);
      } else if (event.key === " " && name !== "BUTTON") does.play();
      else if (arrow && arrow[0] && name !== "INPUT") this.go(this.tick + arrow[0]);
      else if (event.key === "+" || event.key === "=") does.larger();
      else if (event.key === "-") does.smaller();
      else if (event.key === "0") does.reset();
      else if (event.key === "<" || event.key === ",") this.faster(-1);
      else if (event.key === ">" || event.key === ".") this.faster(1);
      else return;
      event.preventDefault();
    }

    faster(steps) {
      this.select.selectedIndex = between(0, this.select.selectedIndex + steps, this.select.options.length - 1);
      this.speed = Number(this.select.value);
    }

    go(tick) {
      this.pause();
      this.tick = between(0, tick, this.ticks - 1);
      this.draw();
    }

    grow(factor) {
      this.zoom = between(1 / NEAREST, this.zoom * factor, NEAREST);
      this.draw();
    }

    turn(yaw, pitch) {
      this.yaw += yaw;
      this.pitch = between(-STEEPEST, this.pitch + pitch, STEEPEST);
      this.fit();
      this.draw();
    }

    move(dx, dy, canvas) {
      this.shift = [this.shift[0] + dx / canvas.clientWidth, this.shift[1] + dy / canvas.clientWidth];
      this.draw();
    }

    reset() {
      this.look();
      this.tick = 0;
      this.select.value = "1";
      this.speed = 1;
      this.draw();
    }

    play() {
      if (this.playing) return;
      this.playing = this.wanted = true;
      this.button.textContent = "Pause";
      let last = null, due = 0;
      const step = (now) => {
        if (!this.playing) return;
        due += last === null ? 0 : (Math.min(now - last, 500) / 1000) * this.rate * this.speed;
        last = now;
        if (due >= 1) {
          this.tick = (this.tick + Math.floor(due)) % this.ticks;
          due %= 1;
          this.draw();
        }
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }

    pause(keep = false) {
      this.playing = false;
      this.wanted = keep;
      this.button.textContent = "Play";
    }

    // pictures

    frame(clip) {
      return Math.min(clip.T - 1, Math.floor((this.tick * clip.rate) / this.rate + 1e-6));
    }

    draw() {
      const { S, kind } = this.scene, seconds = this.tick / this.rate;
      this.slider.value = this.tick;
      const part = kind ? `segment ${Math.floor(this.tick / S) + 1}/${this.ticks / S}` : `${seconds.toFixed(2)} s`;
      this.output.textContent = `frame ${this.tick + 1}/${this.ticks} · ${part}`;
      this.slider.setAttribute("aria-valuetext", this.output.textContent);
      for (const { canvas, clip, shows } of this.panes) {
        const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
        if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
        if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
        const g = canvas.getContext("2d");
        g.setTransform(ratio, 0, 0, ratio, 0, 0);
        g.clearRect(0, 0, width, height);
        g.lineCap = "round";
        const at = (p) => this.project(clip, p, width, height), t = this.frame(clip);
        if (this.scene.dims === 3) this.floor(g, at, clip);
        for (const body of clip.bodies) {
          if (shows === "seen") this.given(g, at, clip, body, t);
          else if (shows === "predicted" && this.scene.kind !== "coordinates") this.moved(g, at, clip, body, t);
          else if (shows === "predicted" || shows === "rebuilt") this.placed(g, at, clip, body, t, body[shows]);
          else this.marked(g, at, clip, body, t, body[shows]);
        }
      }
    }

    project(clip, p, width, height) {
      const [left, bottom, right, top] = clip.box, [across, up] = clip.turn(p, this.yaw, this.pitch);
      const scale = 0.8 * this.zoom * Math.min(width / (right - left + 1e-6), height / (top - bottom + 1e-6));
      return [
        width * (0.5 + this.shift[0]) + (across - (left + right) / 2) * scale,
        0.52 * height + width * this.shift[1] - (up - (bottom + top) / 2) * scale,
      ];
    }

    floor(g, at, clip) {
      const half = clip.reach / 2 + 0.2 * clip.height, y = clip.low[1];
      g.strokeStyle = colours.rule;
      g.lineWidth = 1;
      for (let k = -2; k <= 2; k++) {
        const d = (k / 2) * half;
        const ends = [[[d, -half], [d, half]], [[-half, d], [half, d]]];
        for (const pair of ends) {
          g.beginPath();
          for (const [a, b] of pair) g.lineTo(...at([clip.middle[0] + a, y, clip.middle[2] + b]));
          g.stroke();
        }
      }
    }

    bones(g, at, place, colour, width, drawn = () => true) {
      g.lineWidth = width;
      for (const [a, b] of this.scene.edges) {
        if (!drawn(a) || !drawn(b)) continue;
        g.strokeStyle = colour(a, b);
        g.beginPath();
        g.moveTo(...at(place(a)));
        g.lineTo(...at(place(b)));
        g.stroke();
      }
    }

    side(a, b) {
      const { sides } = this.scene;
      return colours[SIDES[sides ? (sides[a] === "m" ? sides[b] : sides[a]) : "m"]];
    }

    state(body, t, v) {
      return body.state ? body.state[Math.floor(t / this.scene.S) * this.scene.joints + v] : KEPT;
    }

    given(g, at, clip, body, t) {
      const { joints, kind, sides } = this.scene;
      const place = (v) => clip.point(body.x, t, v), drawn = (v) => clip.drawn(body, t, v);
      this.bones(g, at, place, (a, b) => this.side(a, b), sides ? 3 : 2, drawn);
      for (let v = 0; v < joints; v++) {
        if (!drawn(v)) continue;
        const state = this.state(body, t, v);
        g.beginPath();
        g.arc(...at(place(v)), sides || state === MASKED ? 3.5 : state === KEPT ? 5 : 2.5, 0, 2 * Math.PI);
        g.globalAlpha = clip.seen(body, t, v) ? 1 : 0.35;
        g.fillStyle = sides ? this.side(v, v) : !kind || state === KEPT ? colours.kept : state === UNUSED ? colours.unused : colours.raised;
        g.fill();
        if (kind && state === MASKED) {
          g.strokeStyle = colours.masked;
          g.lineWidth = 1.6;
          g.stroke();
        }
        g.globalAlpha = 1;
      }
    }

    // where a prediction puts the joints, beside the truth
    placed(g, at, clip, body, t, away) {
      const { joints } = this.scene, place = (v) => clip.point(body.x, t, v);
      this.bones(g, at, place, () => colours.bone, 3);
      const guess = (v) => {
        const p = place(v), d = clip.point(away, t, v);
        return p.map((x, i) => x + d[i]);
      };
      this.bones(g, at, guess, () => colours.predicted, 1.5);
      for (let v = 0; v < joints; v++) {
        if (this.state(body, t, v) === UNUSED) continue;
        const masked = this.state(body, t, v) === MASKED;
        g.fillStyle = masked ? colours.predicted : colours.kept;
        g.beginPath();
        g.arc(...at(guess(v)), masked ? 3.5 : 4.5, 0, 2 * Math.PI);
        g.fill();
      }
    }

    // how much each joint counts, a digit for each segment
    marked(g, at, clip, body, t, marks) {
      const { joints, S } = this.scene, place = (v) => clip.point(body.x, t, v);
      this.bones(g, at, place, () => colours.bone, 2);
      for (let v = 0; v < joints; v++) {
        const share = Number(marks[Math.floor(t / S) * joints + v]) / 9;
        g.beginPath();
        g.arc(...at(place(v)), Number.isNaN(share) ? 2 : 2.5 + 6 * share, 0, 2 * Math.PI);
        g.fillStyle = Number.isNaN(share) ? colours.unused : colours.raised;
        g.fill();
        if (Number.isNaN(share)) continue;
        g.globalAlpha = 0.2 + 0.8 * share;
        g.fillStyle = colours.masked;
        g.fill();
        g.globalAlpha = 1;
      }
    }

    // arrows of what is predicted to move
    moved(g, at, clip, body, t) {
      const { joints } = this.scene, place = (v) => clip.point(body.x, t, v);
      this.bones(g, at, place, () => colours.bone, 1.5);
      for (const [name, width] of [["true", 4], ["predicted", 2]]) {
        g.strokeStyle = g.fillStyle = colours[name];
        for (let v = 0; v < joints; v++) {
          if (this.state(body, t, v) !== MASKED) continue;
          const p = place(v), d = clip.point(body[name], t, v).map((x) => x * clip.gain);
          this.arrow(g, at(p), at(p.map((x, i) => x + d[i])), width);
        }
      }
      for (let v = 0; v < joints; v++) {
        if (this.state(body, t, v) !== KEPT) continue;
        g.fillStyle = colours.kept;
        g.beginPath();
        g.arc(...at(place(v)), 4, 0, 2 * Math.PI);
        g.fill();
      }
    }

    arrow(g, from, to, width) {
      const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
      g.globalAlpha = width > 3 ? 0.35 : 1;
      g.lineWidth = width;
      g.beginPath();
      g.moveTo(...from);
      g.lineTo(...to);
      g.stroke();
      if (length > 5) {
        const angle = Math.atan2(to[1] - from[1], to[0] - from[0]), size = width + 3;
        g.beginPath();
        g.moveTo(to[0] + Math.cos(angle) * 3, to[1] + Math.sin(angle) * 3);
        for (const side of [2.5, -2.5]) g.lineTo(to[0] + size * Math.cos(angle + side), to[1] + size * Math.sin(angle + side));
        g.closePath();
        g.fill();
      }
      g.globalAlpha = 1;
    }
  }

  document.querySelectorAll(".help").forEach((text) => (text.hidden = false));
  readColours();
  const players = new Map();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    players.forEach((player) => player.draw());
  });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const player = players.get(target);
      if (isIntersecting && player.wanted && !player.playing && !calm) player.play();
      else if (!isIntersecting && player.playing) player.pause(true);
    }
  });
  const start = (figure, scene) => {
    const player = new Player(figure, scene);
    players.set(figure, player);
    player.draw();
    new ResizeObserver(() => player.draw()).observe(figure);
    watcher.observe(figure);
  };

  const scenes = {};
  for (const figure of document.querySelectorAll(".player")) {
    const { scene } = figure.dataset;
    scenes[scene] ??= JSON.parse(document.getElementById(scene).textContent);
    start(figure, scenes[scene]);
  }
  window.kinemask = { start }; // for pages that make players while they are open
})();
