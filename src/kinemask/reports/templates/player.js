// Moving skeletons: what the encoder is given, and what is predicted, turned together by dragging.
(() => {
  const SPEED = 15; // frames per second
  const MASKED = "0", KEPT = "1", UNUSED = "2";

  const unpack = (text, unit) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true) * unit);
  };

  const colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["kept", "masked", "true", "predicted", "unused", "bone", "rule", "raised"]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
  };

  class Player {
    constructor(figure, scene, clip) {
      Object.assign(this, { figure, scene, clip, frame: 0, playing: false, wanted: true });
      this.yaw = scene.dims === 3 ? Math.PI + 0.5 : 0; // sensors see people from -z
      this.pitch = scene.dims === 3 ? 0.18 : 0;
      this.bodies = clip.bodies.map((b) => ({
        x: unpack(b.positions, clip.unit),
        seen: b.seen,
        state: b.state ?? "",
        true: b.true && unpack(b.true, clip.arrow),
        predicted: b.predicted && unpack(b.predicted, clip.arrow),
      }));
      this.measure();
      this.slider = figure.querySelector("input");
      this.output = figure.querySelector("output");
      this.button = figure.querySelector(".play");
      this.canvases = [...figure.querySelectorAll("canvas")];
      this.listen();
    }

    measure() {
      const C = this.scene.dims;
      this.low = [Infinity, Infinity, C === 3 ? Infinity : 0];
      this.high = [-Infinity, -Infinity, C === 3 ? -Infinity : 0];
      for (const { x } of this.bodies) {
        for (let i = 0; i < x.length; i++) {
          this.low[i % C] = Math.min(this.low[i % C], x[i]);
          this.high[i % C] = Math.max(this.high[i % C], x[i]);
        }
      }
      this.middle = this.low.map((v, i) => (v + this.high[i]) / 2);
      const size = this.low.map((v, i) => this.high[i] - v);
      this.reach = Math.max(Math.hypot(size[0], size[2]), 1e-6);
      this.height = Math.max(size[1], 1e-6);
      this.gain = this.clip.typical ? (0.14 * this.height) / this.clip.typical : 1; // of arrows
      this.fit();
    }

    fit() {
      // the box, on the screen, of everything that moves as it is turned now
      this.box = [Infinity, Infinity, -Infinity, -Infinity];
      for (const { x } of this.bodies) {
        for (let t = 0; t < this.scene.T; t++) {
          for (let v = 0; v < this.scene.joints; v++) {
            const [a, b] = this.turn(this.point(x, t, v));
            this.box = [Math.min(this.box[0], a), Math.min(this.box[1], b), Math.max(this.box[2], a), Math.max(this.box[3], b)];
          }
        }
      }
    }

    listen() {
      this.slider.addEventListener("input", () => {
        this.pause();
        this.frame = Number(this.slider.value);
        this.draw();
      });
      this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
      for (const canvas of this.canvases) {
        canvas.addEventListener("pointerdown", (event) => {
          if (this.scene.dims === 3) canvas.setPointerCapture(event.pointerId);
        });
        canvas.addEventListener("pointermove", (event) => {
          if (!canvas.hasPointerCapture(event.pointerId)) return;
          this.yaw += event.movementX * 0.01;
          this.pitch = Math.max(-1.4, Math.min(1.4, this.pitch + event.movementY * 0.01));
          this.fit();
          this.draw();
        });
      }
    }

    play() {
      this.playing = this.wanted = true;
      this.button.textContent = "Pause";
      let last = null;
      const step = (now) => {
        if (!this.playing) return;
        last ??= now;
        if (now - last >= 1000 / SPEED) {
          last = now;
          this.frame = (this.frame + 1) % this.scene.T;
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

    turn(p) {
      const [x, y, z] = p.map((v, i) => v - this.middle[i]);
      const cy = Math.cos(this.yaw), sy = Math.sin(this.yaw), cp = Math.cos(this.pitch), sp = Math.sin(this.pitch);
      return [cy * x + sy * z, cp * y - sp * (cy * z - sy * x)];
    }

    project(p, width, height) {
      const [left, bottom, right, top] = this.box, [across, up] = this.turn(p);
      const scale = 0.8 * Math.min(width / (right - left + 1e-6), height / (top - bottom + 1e-6));
      return [width / 2 + (across - (left + right) / 2) * scale, 0.52 * height - (up - (bottom + top) / 2) * scale];
    }

    point(values, t, v) {
      const C = this.scene.dims, at = (t * this.scene.joints + v) * C;
      return [values[at], values[at + 1], C === 3 ? values[at + 2] : 0];
    }

    draw() {
      const { T, S } = this.scene;
      const segment = Math.floor(this.frame / S);
      this.slider.value = this.frame;
      const parts = this.scene.kind ? ` · segment ${segment + 1}/${T / S}` : "";
      this.output.textContent = `frame ${this.frame + 1}/${T}${parts}`;
      for (const canvas of this.canvases) {
        const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
        if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
        if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
        const g = canvas.getContext("2d");
        g.setTransform(ratio, 0, 0, ratio, 0, 0);
        g.clearRect(0, 0, width, height);
        g.lineCap = "round";
        const at = (p) => this.project(p, width, height);
        if (this.scene.dims === 3) this.floor(g, at);
        for (const body of this.bodies) {
          if (canvas.dataset.view === "seen") this.given(g, at, body, segment);
          else this.told(g, at, body, segment);
        }
      }
    }

    floor(g, at) {
      const half = this.reach / 2 + 0.2 * this.height, y = this.low[1];
      g.strokeStyle = colours.rule;
      g.lineWidth = 1;
      for (let k = -2; k <= 2; k++) {
        const d = (k / 2) * half;
        const ends = [[[d, -half], [d, half]], [[-half, d], [half, d]]];
        for (const pair of ends) {
          g.beginPath();
          for (const [a, b] of pair) g.lineTo(...at([this.middle[0] + a, y, this.middle[2] + b]));
          g.stroke();
        }
      }
    }

    bones(g, at, place, colour, width) {
      g.strokeStyle = colour;
      g.lineWidth = width;
      for (const [a, b] of this.scene.edges) {
        g.beginPath();
        g.moveTo(...at(place(a)));
        g.lineTo(...at(place(b)));
        g.stroke();
      }
    }

    state(body, segment, v) {
      return body.state ? body.state[segment * this.scene.joints + v] : KEPT;
    }

    given(g, at, body, segment) {
      const { joints, kind } = this.scene, t = this.frame;
      const place = (v) => this.point(body.x, t, v);
      this.bones(g, at, place, colours.bone, 2);
      for (let v = 0; v < joints; v++) {
        const state = this.state(body, segment, v);
        const unseen = body.seen && body.seen[t * joints + v] === "0";
        g.beginPath();
        g.arc(...at(place(v)), state === KEPT ? 5 : state === MASKED ? 3.5 : 2.5, 0, 2 * Math.PI);
        g.globalAlpha = unseen ? 0.35 : 1;
        g.fillStyle = !kind || state === KEPT ? colours.kept : state === UNUSED ? colours.unused : colours.raised;
        g.fill();
        if (kind && state === MASKED) {
          g.strokeStyle = colours.masked;
          g.lineWidth = 1.6;
          g.stroke();
        }
        g.globalAlpha = 1;
      }
    }

    told(g, at, body, segment) {
      const { joints, kind } = this.scene, t = this.frame;
      const place = (v) => this.point(body.x, t, v);
      this.bones(g, at, place, colours.bone, kind === "coordinates" ? 3 : 1.5);
      if (kind === "coordinates") {
        const guess = (v) => {
          const p = place(v), d = this.point(body.predicted, t, v);
          return p.map((x, i) => x + d[i]);
        };
        this.bones(g, at, guess, colours.predicted, 1.5);
        for (let v = 0; v < joints; v++) {
          if (this.state(body, segment, v) === UNUSED) continue;
          const masked = this.state(body, segment, v) === MASKED;
          g.fillStyle = masked ? colours.predicted : colours.kept;
          g.beginPath();
          g.arc(...at(guess(v)), masked ? 3.5 : 4.5, 0, 2 * Math.PI);
          g.fill();
        }
        return;
      }
      for (const [name, width] of [["true", 4], ["predicted", 2]]) {
        g.strokeStyle = g.fillStyle = colours[name];
        for (let v = 0; v < joints; v++) {
          if (this.state(body, segment, v) !== MASKED) continue;
          const p = place(v), d = this.point(body[name], t, v).map((x) => x * this.gain);
          this.arrow(g, at(p), at(p.map((x, i) => x + d[i])), width);
        }
      }
      for (let v = 0; v < joints; v++) {
        if (this.state(body, segment, v) !== KEPT) continue;
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

  readColours();
  const scenes = {};
  const players = new Map();
  for (const figure of document.querySelectorAll(".player")) {
    const { scene, clip } = figure.dataset;
    scenes[scene] ??= JSON.parse(document.getElementById(scene).textContent);
    const player = new Player(figure, scenes[scene], scenes[scene].clips[Number(clip)]);
    players.set(figure, player);
    player.draw();
    new ResizeObserver(() => player.draw()).observe(figure);
  }
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
  players.forEach((_, figure) => watcher.observe(figure));
})();
