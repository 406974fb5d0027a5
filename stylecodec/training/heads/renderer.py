"""Draws identities with moderngl on EGL (a GPU or Mesa's software rasteriser)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stylecodec.errors import MissingDependency, OptionError
from stylecodec.training.heads import shaders
from stylecodec.training.heads.assets import BACK, EYE_LEFT, EYE_RIGHT, FACE, GUMS, LASHES, TEETH, Floats, Ints
from stylecodec.training.heads.camera import (
    CROP_SCALE,
    Crop,
    ffhq_crop,
    head_matrices,
    to_picture,
)
from stylecodec.training.heads.drawable import Bytes, Draw, Person, Picture
from stylecodec.training.heads.facial_hair import beard, brows
from stylecodec.training.heads.glasses import frame
from stylecodec.training.heads.hair import STYLES, Hairdresser
from stylecodec.training.heads.identities import Identity
from stylecodec.training.heads.model import HeadModel, Posed
from stylecodec.training.heads.uniforms import (
    TEXTURE_UNITS,
    face_uniforms,
    light_uniforms,
    person_uniforms,
    view_uniforms,
)

SHADOW_SIZE = 512
_PART_MATERIALS = {
    shaders.FACE_PART: [FACE],
    shaders.BACK_PART: [BACK],
    shaders.MOUTH_PART: [GUMS, TEETH],
    shaders.EYES_PART: [EYE_LEFT, EYE_RIGHT],
}
_MESH_LAYOUT = ("3f 3f", "p", "n")
_STRAND_LAYOUT = ("3f 3f 4f", "p", "t", "a")


def _context() -> tuple[Any, Any]:
    moderngl: Any
    try:
        moderngl = importlib.import_module("moderngl")
    except ImportError as error:
        raise MissingDependency("rendering heads needs moderngl: pip install 'stylecodec[train]'") from error
    try:
        return moderngl, moderngl.create_standalone_context(backend="egl", require=330)
    except Exception as error:  # moderngl raises bare Exception for a missing library or display
        raise MissingDependency(
            f"rendering heads needs an EGL driver (Debian: libegl1 libgl1-mesa-dri): {error}"
        ) from error


def _noise(size: int = 256) -> Bytes:
    """[size, size, 4] tiling smooth noise about 128, seeded."""
    rng = np.random.default_rng(7)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.fftfreq(size) * size))
    bands = []
    for low, high, fall in ((2, 10, 1.2), (6, 30, 1.0), (6, 30, 1.0), (6, 30, 1.0)):
        spectrum = np.fft.fft2(rng.normal(size=(size, size))) * ((f >= low) & (f < high)) / np.maximum(f, 1) ** fall
        x = np.real(np.fft.ifft2(spectrum))
        bands.append(np.clip(0.5 + 0.18 * (x - x.mean()) / x.std(), 0, 1))
    return np.asarray(np.dstack(bands) * 255, np.uint8)


class Renderer:
    """size: picture side in pixels; supersampling 2 renders at twice the size and averages 2 x 2."""

    def __init__(self, model: HeadModel, size: int = 256, supersampling: int = 2) -> None:
        if supersampling not in (1, 2):
            raise OptionError(f"supersampling is 1 or 2, not {supersampling}")
        if not 16 <= size <= 4096:
            raise OptionError(f"a picture side of {size} pixels is outside 16..4096")
        self.model, self.size, self._scale = model, size, supersampling
        self._gl, self._ctx = _context()
        self._programs()
        self._textures()
        self._targets()
        self._mesh_buffers()
        self._hairdresser = Hairdresser(model)
        self._brows, self._beard = brows(model), beard(model)

    @property
    def device(self) -> str:
        """The name that the GL driver gives itself."""
        return str(self._ctx.info["GL_RENDERER"])

    def close(self) -> None:
        """Frees the GL context; the renderer and its people are unusable afterwards."""
        self._ctx.release()

    # ---- set-up

    def _programs(self) -> None:
        def make(vertex: str, fragment: str) -> Any:
            return self._ctx.program(vertex_shader=vertex, fragment_shader=fragment)

        s = shaders
        self._p_lash = make(s.MESH_VS, s.LASH_FS)
        self._p_parts = [make(s.MESH_VS, s.mesh_fragment(k)) for k in _PART_MATERIALS]
        self._p_hair, self._p_frame = make(s.HAIR_VS, s.HAIR_FS), make(s.FRAME_VS, s.FRAME_FS)
        self._p_shadow, self._p_shadow_hair = make(s.SHADOW_VS, s.EMPTY_FS), make(s.SHADOW_HAIR_VS, s.EMPTY_FS)
        self._p_backdrop, self._p_halve = make(s.SCREEN_VS, s.BACKDROP_FS), make(s.SCREEN_VS, s.HALVE_FS)
        self._p_label = make(s.MESH_VS, s.LABEL_FS)
        self._p_label_hair = make(s.LABEL_HAIR_VS, s.LABEL_FLAT_FS)
        self._p_label_frame = make(s.FRAME_VS, s.LABEL_FLAT_FS)

    def _textures(self) -> None:
        gl = self._gl
        self._images = []
        for array in (*self.model.assets.paint, _noise()):
            texture = self._ctx.texture(array.shape[1::-1], 4, np.ascontiguousarray(array).tobytes())
            texture.build_mipmaps()
            texture.filter = (gl.LINEAR_MIPMAP_NEAREST, gl.LINEAR)
            self._images.append(texture)
        for texture in self._images[:3]:
            texture.repeat_x = texture.repeat_y = False

    def _targets(self) -> None:
        c, big, small = self._ctx, self.size * self._scale, self.size
        self._big = c.texture((big, big), 4)
        self._big.filter = (self._gl.LINEAR, self._gl.LINEAR)
        self._big_target = c.framebuffer([self._big], c.depth_renderbuffer((big, big)))
        self._small_target = c.framebuffer([c.texture((small, small), 4)])
        self._label_target = c.framebuffer([c.texture((small, small), 1)], c.depth_renderbuffer((small, small)))
        self._shadow_map = c.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self._shadow_map.compare_func = "<="
        self._shadow_map.filter = (self._gl.LINEAR, self._gl.LINEAR)
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_target = c.framebuffer(depth_attachment=self._shadow_map)

    def _mesh_buffers(self) -> None:
        c, a = self._ctx, self.model.assets
        self._corner = a.corner_vertex
        rest = a.vertices[self._corner]
        t = np.clip((rest[:, 1] + 0.25 * np.maximum(rest[:, 2] - 2, 0) + 14.5) / 6.5, 0, 1)
        follow = t * t * (3 - 2 * t)
        material = np.zeros(len(rest), np.float32)
        material[a.triangles.ravel()] = np.repeat(a.triangle_material, 3)
        static = np.c_[rest, a.corner_uv, material, follow].astype(np.float32)
        self._static = c.buffer(static.tobytes())
        self._moving = c.buffer(reserve=len(rest) * 24, dynamic=True)
        self._moving_array: Floats = np.zeros((len(rest), 6), np.float32)
        self._occlusion = c.buffer(reserve=len(rest) * 4, dynamic=True)
        solid = a.triangles[a.triangle_material != LASHES]
        self._solid, self._lashes = (
            c.buffer(x.astype(np.int32).tobytes()) for x in (solid, a.triangles[a.triangle_material == LASHES])
        )

        def mesh(program: Any, indices: Any) -> Any:
            content = [
                (self._moving, *_MESH_LAYOUT),
                (self._static, "3f 2f 1f 1f", "r", "uv", "material", "follow"),
                (self._occlusion, "1f", "ao"),
            ]
            return c.vertex_array(program, content, indices, skip_errors=True)

        self._a_lash = mesh(self._p_lash, self._lashes)
        self._a_parts = []
        for program, materials in zip(self._p_parts, _PART_MATERIALS.values(), strict=True):
            rows = a.triangles[np.isin(a.triangle_material, materials)]
            self._a_parts.append(mesh(program, c.buffer(rows.astype(np.int32).tobytes())))
        self._a_label, self._a_shadow = mesh(self._p_label, self._solid), mesh(self._p_shadow, self._solid)
        corners = c.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        self._a_backdrop = c.vertex_array(self._p_backdrop, [(corners, "2f", "p")])
        self._a_halve = c.vertex_array(self._p_halve, [(corners, "2f", "p")])

    # ---- people

    def person(self, identity: Identity) -> Person:
        """Buffers that stay the same for every picture of an identity."""
        p = identity
        base = self.model.neutral(p["shape"], p.number("eye_size"), p.number("lid"), p.number("iris_radius"))
        with self._ctx:
            return self._prepare(p, base)

    def _prepare(self, p: Identity, base: Floats) -> Person:
        hair = glasses = whiskers = None
        if p.hair_style != "bald":
            hairdo = self._hairdresser.hairdo(p.hair_style, 1 if p.number("part_side") > 0 else -1)
            vertices = hairdo.place(base - self.model.assets.vertices)
            hair = self._strands(vertices, hairdo.indices, p["hair"], STYLES[p.hair_style].gloss, shaders.HAIR_CLASS)
        if p.glasses_style != "none":
            glasses = self._frame(*frame(self.model, base, p.glasses_style), p["glasses_colour"])
        brow = self._strands(self._brows.buffer, self._brows.indices, p["brow"], 0.1, 0)
        brow.rooted, brow.thickness = self._brows, p.number("brow_thickness")
        if p.number("beard_length") > 0:
            whiskers = self._strands(
                self._beard.buffer, self._beard.indices, 0.85 * p["hair"], 0.2, shaders.BEARD_CLASS
            )
            whiskers.rooted, whiskers.length = self._beard, p.number("beard_length")
        return Person(p, base, hair, glasses, brow, whiskers, self._ctx)

    def _strands(self, vertices: Floats, indices: Ints, tint: Floats, gloss: float, label: int) -> Draw:
        v, i = self._ctx.buffer(vertices.tobytes(), dynamic=True), self._ctx.buffer(indices.tobytes())

        def array(program: Any) -> Any:
            return self._ctx.vertex_array(program, [(v, *_STRAND_LAYOUT)], i, skip_errors=True)

        color, shadow, flat = (array(p) for p in (self._p_hair, self._p_shadow_hair, self._p_label_hair))
        return Draw(color, shadow, flat, v, i, tint, gloss, label)

    def _frame(self, vertices: Floats, indices: Ints, tint: Floats) -> Draw:
        v, i = self._ctx.buffer(vertices.tobytes()), self._ctx.buffer(indices.tobytes())
        color, label = (
            self._ctx.vertex_array(p, [(v, *_MESH_LAYOUT)], i, skip_errors=True)
            for p in (self._p_frame, self._p_label_frame)
        )
        return Draw(color, None, label, v, i, tint, 0.0, shaders.GLASSES_CLASS)

    # ---- pictures

    def crop_for(
        self, person: Person, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = CROP_SCALE
    ) -> Crop:
        """The aligned crop of this head pose, from the resting face."""
        head = head_matrices(yaw, pitch, roll)[0]
        return ffhq_crop(person.base[self.model.assets.landmarks], head, scale)

    def render(
        self,
        person: Person,
        weights: ArrayLike | None = None,
        gaze: tuple[float, float] = (0.0, 0.0),
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        *,
        crop: Crop | None = None,
        shift: tuple[float, float] = (0.0, 0.0),
        labels: bool = False,
    ) -> Picture:
        """One picture. Angles in degrees, weights [K] by `HeadModel.names`, shift of the head in cm; the crop is the
        aligned one of this pose unless given.
        """
        model = self.model
        given = np.zeros(len(model.names), np.float32) if weights is None else np.asarray(weights, np.float32)
        if given.shape != (len(model.names),):
            raise OptionError(f"an expression has {len(model.names)} weights, not {given.shape}")
        posed = model.pose_face(person.base, given, gaze)
        head, body = head_matrices(yaw, pitch, roll, shift)
        view = crop or self.crop_for(person, yaw, pitch, roll)
        identity = person.identity
        values = view_uniforms(identity, head, body, view) | light_uniforms(identity) | person_uniforms(identity)
        values |= face_uniforms(posed, model.assets.landmarks) | TEXTURE_UNITS
        with self._ctx:  # another renderer may have made its own context the current one
            self._write_vertices(person, posed)
            self._shadow_pass(person, values)
            self._color_pass(person, values)
            image = self._read(self._small_target, 3)
            ids = self._label_pass(person, values) if labels else None
        points = to_picture(model.landmarks(posed), head, view)
        return Picture(image, ids, points, posed.weights, gaze, yaw, pitch, roll, view)

    def _write_vertices(self, person: Person, posed: Posed) -> None:
        a = self.model.assets
        normals = self.model.normals(posed.vertices)
        np.take(posed.vertices, self._corner, axis=0, out=self._moving_array[:, :3], mode="clip")
        np.take(normals, self._corner, axis=0, out=self._moving_array[:, 3:], mode="clip")
        self._moving.write(self._moving_array)
        opening = self.model.index.get("jawOpen")
        jaw = 0.0 if opening is None else float(np.clip(posed.weights[opening] / 0.8, 0, 1))
        ao = (1 - jaw) * a.occlusion_closed + jaw * a.occlusion_open
        self._occlusion.write(np.clip(1.15 * ao, 0, 1).astype(np.float32)[self._corner])
        for group in (person.brows, person.beard):
            if group is not None and group.rooted is not None:
                group.vertices.write(group.rooted.place(posed.vertices, normals, group.length, group.thickness))

    @staticmethod
    def _set(program: Any, values: dict[str, Any]) -> None:
        """Writes those values that the program has; integers are texture units."""
        for name in program:
            if name in values:
                value = values[name]
                if isinstance(value, (int, float)):
                    program[name].value = value
                else:
                    program[name].write(np.asarray(value, np.float32).tobytes())

    def _shadow_pass(self, person: Person, values: dict[str, Any]) -> None:
        c = self._ctx
        c.enable(self._gl.DEPTH_TEST)
        self._shadow_target.use()
        self._shadow_target.clear(depth=1.0)
        self._set(self._p_shadow, values)
        self._a_shadow.render()
        self._set(self._p_shadow_hair, values)
        if person.hair is not None:  # a beard shadowing itself only looks noisy
            person.hair.shadow.render()

    def _color_pass(self, person: Person, values: dict[str, Any]) -> None:
        c = self._ctx
        for unit_number, texture in enumerate(self._images):
            texture.use(unit_number)
        self._shadow_map.use(TEXTURE_UNITS["ShadowMap"])
        self._big_target.use()
        self._big_target.clear(0, 0, 0, 1, depth=1.0)
        c.disable(self._gl.DEPTH_TEST)
        self._set(self._p_backdrop, values)
        self._a_backdrop.render()
        c.enable(self._gl.DEPTH_TEST)
        for program in (self._p_hair, *self._p_parts, self._p_lash, self._p_frame):
            self._set(program, values)
        if person.hair is not None:
            self._draw_strands(person.hair)
        for part in self._a_parts:
            part.render()
        for group in (person.brows, person.beard):
            if group is not None:
                self._draw_strands(group)
        self._a_lash.render()
        if person.glasses is not None:
            self._set(self._p_frame, {"FrameCol": person.glasses.tint})
            person.glasses.color.render()
        c.disable(self._gl.DEPTH_TEST)
        self._small_target.use()
        self._big.use(0)
        self._set(self._p_halve, {"Big": 0})
        self._a_halve.render()

    def _draw_strands(self, group: Draw) -> None:
        self._set(self._p_hair, {"StrandCol": group.tint, "StrandGloss": group.gloss})
        group.color.render()

    def _label_pass(self, person: Person, values: dict[str, Any]) -> Bytes:
        c = self._ctx
        c.enable(self._gl.DEPTH_TEST)
        self._images[0].use(0)
        self._label_target.use()
        self._label_target.clear(0, 0, 0, 0, depth=1.0)
        for program in (self._p_label, self._p_label_hair, self._p_label_frame):
            self._set(program, values)
        self._a_label.render()
        for group in (person.hair, person.beard, person.glasses):
            if group is not None:
                program = self._p_label_frame if group is person.glasses else self._p_label_hair
                self._set(program, {"Class": float(group.label_class)})
                group.label.render()
        return self._read(self._label_target, 1)[..., 0]

    def _read(self, target: Any, components: int) -> Bytes:
        raw = target.read(components=components, alignment=1)
        array = np.frombuffer(raw, np.uint8).reshape(self.size, self.size, components)
        return np.ascontiguousarray(array[::-1])
