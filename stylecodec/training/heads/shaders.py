"""GLSL 3.30 sources. Spaces: head (cm), world (head turned and moved; the camera looks along -z), clip.

Lighting: one wrapped key light with a soft shadow, a fill, a rim and a two-colour ambient, then a filmic curve.
"""

from __future__ import annotations

HEAD = """#version 330
#define saturate(x) clamp(x, 0., 1.)
"""

SHADOW = """
uniform sampler2DShadow ShadowMap; uniform float ShadowBias;
float shadow(vec4 sp, float soft) {
  vec3 q = sp.xyz * .5 + .5; q.z -= ShadowBias; float s = 0.;
  for (int i = 0; i < 4;
  i++) s += texture(ShadowMap, vec3(q.xy + vec2(i < 2 ? .5 : -.5, (i & 1) == 0 ? 1. : -1.) * (i < 2
    ? 1. : -1.) * soft, q.z));
  return s * .25; }
float shadow4(vec4 sp, float soft) {
  vec3 q = sp.xyz * .5 + .5; q.z -= ShadowBias; float s = 0.;
  for (int i = 0; i < 4; i++) s += texture(ShadowMap, vec3(q.xy + (vec2(i & 1, i >> 1) - .5) * soft, q.z));
  return s * .25; }
"""

LIGHT = """
uniform vec3 KeyDir, KeyCol, FillDir, FillCol, RimDir, RimCol, Sky, Ground, Camera;
vec3 tonemap(vec3 c) { c = max(c, 0.); c = c * .94 * (1. + c * .10) / (1. + c * .72);
return pow(saturate(c), vec3(1. / 2.2)); }
float ggx(float nh, float r) { float a = r * r; a *= a; float d = nh * nh * (a - 1.) + 1.;
return a / (3.14159 * d * d); }
"""

HAIRLINE = """
float hairline(vec3 r) {
  vec2 d = vec2(abs(r.x), r.z - 1.); float a = degrees(atan(d.x, d.y)); float y;
  if (a < 20.) y = 11.1; else if (a < 40.) y = mix(11.1, 10.5, (a - 20.) / 20.);
  else if (a < 55.) y = mix(10.5, 8.6, (a - 40.) / 15.); else if (a < 66.) y = mix(8.6, 6.4, (a - 55.) / 11.);
  else if (a < 76.) y = mix(6.4, 2.6, (a - 66.) / 10.); else if (a < 84.) y = mix(2.6, 2.2, (a - 76.) / 8.);
  else if (a < 98.) y = mix(2.2, 5.2, (a - 84.) / 14.); else if (a < 112.) y = mix(5.2, 4.2, (a - 98.) / 14.);
  else if (a < 125.) y = mix(4.2, .5, (a - 112.) / 13.); else y = mix(.5, -2.6, (a - 125.) / 55.);
  return r.y - y; }
float neckline(vec3 r, float collar) { return r.y - (collar - 2.6 * exp(-pow(r.x / 4.2, 2.)) * smoothstep(-3.,
  4., r.z)); }
"""
EAR = """
bool earRegion(vec3 r) { return abs(r.x) > 7.75 && r.y < 4.6 && r.y > -3.2 && r.z > -4.; }
"""
MOUTH = """
bool mouthPocket(vec3 r) { return abs(r.x) < 3.6 && r.z > .5 && r.y < 0. && r.y > -5.9; }
"""

# p, n: posed position and normal; r: mean-head position; a: material, occlusion, share that follows the head
MESH_VS = (
    HEAD
    + HAIRLINE
    + """
in vec3 p; in vec3 n; in vec3 r; in vec2 uv; in float material; in float follow; in float ao;
uniform mat4 HeadM, BodyM, ViewProj, ShadowM;
uniform float Collar; out vec3 W, N, R, P, AO; out vec4 SP; out vec4 UV; flat out int Mat;
void main() { // UV.z: height over the hairline, UV.w: over the collar; AO.y: red middle of the face
  Mat = int(material + .5); R = r; UV = vec4(uv, hairline(r), neckline(r, Collar)); P = p;
  AO = vec3(ao, exp(-pow((r.y - .6) / 2.6, 2.)), pow(ao, .75));
  vec4 w = mix(BodyM * vec4(p, 1), HeadM * vec4(p, 1), follow); W = w.xyz;
  N = mix(mat3(BodyM) * n, mat3(HeadM) * n, follow); SP = ShadowM * w; gl_Position = ViewProj * w;
  if (Mat == 6) gl_Position.z -= .0004 * gl_Position.w;
  // gums, teeth and the pockets behind lips and lids give way by a few millimetres,
  // or they poke through pouting lips
  bool pocket = Mat == 1 && abs(r.x) < 4.5 && r.y > -5.85 && r.y < 5. && r.z > .8;
  if (pocket || Mat == 2 || Mat == 3) gl_Position.z += (pocket ? .0045 : .003) * gl_Position.w; }
"""
)

# One program per part (see mesh_fragment): a software rasteriser runs every branch of a shader for every pixel.
FACE_PART, BACK_PART, MOUTH_PART, EYES_PART = range(4)
_MESH_FS = (
    LIGHT
    + SHADOW
    + EAR
    + MOUTH
    + """
in vec3 W, N, R, P, AO; in vec4 UV, SP; flat in int Mat; out vec4 o;
uniform sampler2D Paint0, Paint1, Paint2, Noise; uniform mat4 HeadM;
uniform vec3 Skin, Lip, Hair, Brow, IrisIn, IrisOut, Cloth, EyeCL, EyeCR, AxisL, AxisR, LidL, LidR;
uniform float LipOpen, LipA, BlushA, ShadowA, StubbleA, ScalpA, BrowA, IrisR, Pupil, LinerA, Gloss, Rosy, MouthLight;
#if PART == 3
vec3 eyeColour(vec3 v, out float shade, out vec3 glint) {
  vec3 c = Mat == 4 ? EyeCL : EyeCR, axis = Mat == 4 ? AxisL : AxisR, lid = Mat == 4 ? LidL : LidR;
  vec3 d = normalize(P - c); float u = acos(clamp(dot(d, axis), -1., 1.)) / IrisR;
  vec3 t = normalize(cross(vec3(0, 1, 0), axis)), b = cross(axis, t); vec2 q = vec2(dot(d, t), dot(d, b));
  q = q / max(length(q), 1e-4) * u;
  vec3 vl = normalize(transpose(mat3(HeadM)) * v); // the iris lies behind the cornea
  q += vec2(dot(vl, t), dot(vl, b)) * .09 * smoothstep(1.15, .5, u) * (1. - u * u); float uu = length(q);
  float fib = texture(Noise, q * .35 + .5).g;
  vec3 iris = mix(IrisIn, IrisOut, smoothstep(.2, .85, fib * .5 + uu * .35));
  iris = mix(iris, IrisOut * 1.25, .5 * exp(-pow((uu - Pupil - .10) / .16, 2.)));
  iris *= mix(1., .28, smoothstep(.76, 1.02, uu));
  vec3 kl = normalize(transpose(mat3(HeadM)) * KeyDir);
  iris *= .7 + 1. * saturate(.5 - .7 * dot(normalize(q + 1e-4), vec2(dot(kl, t), dot(kl, b))))
    * smoothstep(Pupil, 1., uu);
  iris = mix(iris, vec3(.006), 1. - smoothstep(Pupil - .06, Pupil + .06, uu));
  vec3 white = vec3(.70, .68, .67) * mix(vec3(1), vec3(.98, .87, .85), smoothstep(1.2, 2.6, u));
  float edge = lid.x + lid.y * P.x + lid.z * P.x * P.x, under = smoothstep(-.02, .62, edge - P.y);
  shade = mix(.36, 1., under) * mix(.62, 1., smoothstep(3.3, 1.4, u));
  vec3 ns = normalize(W - (HeadM * vec4(c, 1)).xyz), rr = reflect(-v, ns);
  float key = smoothstep(.988, .994, dot(ns, normalize(normalize(KeyDir * vec3(.8, .55, 1.)) + v)));
  float fill = smoothstep(.990, .997, dot(ns, normalize(normalize(FillDir * vec3(1., -.6, 1.4)) + v)));
  float fresnel = .02 + .5 * pow(1. - saturate(dot(v, ns)), 4.);
  glint = KeyCol * key * .75 + FillCol * fill * .30 + Sky * .35 * fresnel * under * smoothstep(-.2, .8, rr.y);
  return mix(white, iris, 1. - smoothstep(.93, 1.06, u)); }
#endif
float caveLight() { return mix(MouthLight, 1., smoothstep(9., 11., P.z)); }
void main() {
  vec3 n = normalize(N), v = normalize(Camera - W);
#if PART >= 2
  if (dot(n, v) < 0.) n = -n;
#endif
  vec3 alb = Skin, wrap = vec3(0), add = vec3(0); float rough = .5, f0 = .028, ao = AO.x, spec = 1., lit = 0.;
  float cave = 1.; // share of the light that reaches the depth of an open mouth
#if PART <= 1
    alb *= mix(vec3(1), vec3(1.04, .93, .91), AO.y * Rosy);
    rough = .48; wrap = vec3(.42, .24, .17); float scalp = smoothstep(-.45, .45, UV.z);
#if PART == 0
      vec4 t0 = texture(Paint0, UV.xy), t1 = texture(Paint1, UV.xy), t2 = texture(Paint2, UV.xy);
      vec3 shadowCol = Skin * vec3(.62, .48, .46);
      alb = mix(alb, alb * vec3(1.10, .78, .76), t1.b * Rosy);
      alb = mix(alb, mix(alb, Skin * vec3(1.15, .62, .60), .55), t0.a * BlushA);
      alb *= 1. - t2.b * vec3(.08, .12, .08); alb = mix(alb, shadowCol, t1.g * ShadowA);
      alb = mix(alb, shadowCol * .25, t1.r * LinerA);
      alb *= 1. - .25 * t1.r; alb = mix(alb, min(Hair * .65 + alb * .2, alb * .8), t0.b * StubbleA * .9);
      alb = mix(alb, Brow, t0.g * BrowA);
      alb = mix(alb, mix(alb, Lip, LipA), t0.r); rough = mix(rough, .36, t0.r);
      alb *= 1. - .55 * t1.a * smoothstep(.05, .4, t1.a); spec = 1. - .6 * t1.a;
#endif
    if (earRegion(R)) scalp = 0.;
    if (PART == 1 && mouthPocket(R)) cave = caveLight();
    alb = mix(alb, Hair * .80, scalp * ScalpA); spec *= 1. - .8 * scalp * ScalpA;
    float cl = UV.w;
    if (R.y < -7. && cl < 0.) { alb = Cloth; wrap = vec3(.15); rough = .85; f0 = .01; if (cl > -.45) alb *= .86; }
#elif PART == 2
  if (Mat == 2) { // gums, tongue
    alb = vec3(.54, .20, .20); rough = .4; ao = .16 + .84 * smoothstep(3.5, 10.6, P.z); wrap = vec3(.3, .15, .15);
    if (R.y < -3.3 && abs(R.x) < 2.4 && R.z > 3.) alb = vec3(.60, .25, .25);
    cave = caveLight();
  } else { // teeth stay bright towards the sides, as long as the lips are apart
    alb = vec3(.80, .77, .71); ao = (.22 + .78 * smoothstep(4.2, 9.6, P.z)) * mix(.30, 1., LipOpen); rough = .3;
    f0 = .04; wrap = vec3(.45); lit = .55; cave = mix(sqrt(MouthLight), 1., smoothstep(8., 10., P.z)); }
#else
  alb = eyeColour(v, ao, add); rough = .12; f0 = .03; wrap = vec3(.35, .30, .27); spec = .3;
#endif
  float nl = dot(n, KeyDir), s = mix(shadow(SP, .0035), 1., max(lit, .30));
  vec3 key = max((nl + wrap) / (1. + wrap), 0.); key *= mix(vec3(s), vec3(sqrt(s), s, s), step(.05, wrap.x));
  vec3 fill = max((dot(n, FillDir) + wrap + .25) / (1.25 + wrap), 0.), amb = mix(Ground, Sky, n.y * .5 + .5);
  vec3 aoc = vec3(saturate(ao));
#if PART <= 1
  aoc = vec3(AO.z, AO.x, AO.x * (.92 + .08 * AO.x));
#endif

  float keyAo = Mat == 3 ? .2 : .55;
  vec3 c = alb * (KeyCol * key * mix(aoc, vec3(1), keyAo) + (FillCol * fill + amb) * aoc);
  vec3 hk = normalize(KeyDir + v), hf = normalize(FillDir + v); float nh = saturate(dot(n, hk));
  float fr = f0 + (1. - f0) * pow(1. - saturate(dot(v, hk)), 5.);
  float sk = (ggx(nh, rough) * .65 + ggx(nh, rough * 1.7) * .35) * fr * .25 * saturate(nl * 1.5) * s * spec * Gloss;
  float sf = ggx(saturate(dot(n, hf)), rough * 1.2) * f0 * .25 * spec * Gloss;
  float rim = pow(1. - saturate(dot(n, v)), 3.2) * saturate(dot(n, RimDir) * .8 + .35);
  c += KeyCol * sk * 2.2 + FillCol * sf * 1.2 * ao + RimCol * rim * ao * (Mat <= 1 ? (.35 + .65
    * alb) : vec3(.15)) + add;
  o = vec4(tonemap(c * cave), 1.); }
"""
)


def mesh_fragment(part: int) -> str:
    """Fragment shader of FACE_PART (face skin), BACK_PART (other skin), MOUTH_PART (gums, teeth) or EYES_PART."""
    return HEAD + f"#define PART {part}\n" + _MESH_FS


LASH_FS = (
    HEAD
    + """
in vec4 UV; in vec3 R; out vec4 o; uniform vec3 Brow; uniform float LashA;
float hash(float x) { return fract(sin(x * 12.9898) * 43758.5453); }
void main() { // each UV cell is a row of lashes, root at the top
  vec2 s = vec2(fract(UV.x) * 2., fract(UV.y) * 6.), l = fract(s);
  float row = floor(s.y) + 6. * floor(s.x), t = 1. - l.y;
  float k = l.x * 24. + row * 3.7, id = floor(k), ph = hash(id + row * 4.1), low = R.y < 3.25 ? 1. : 0.;
  float w = fract(k) - .5 - (ph - .5) * .5 - t * t * (hash(id * 1.7 + 3.) - .5) * .6, wide = mix(.22, .04, t)
    * (1. - .35 * low);
  if (abs(w) > wide || t > (.45 + .4 * ph) * LashA * (1. - .5 * low)) discard;
  o = vec4(pow(mix(vec3(.012, .009, .008), Brow * .4, .08), vec3(1. / 2.2)), 1.); }
"""
)

# t: tangent; a: place along the strand, side, seed, half width
HAIR_VS = (
    HEAD
    + LIGHT
    + SHADOW
    + """
in vec3 p; in vec3 t; in vec4 a; uniform mat4 HeadM, BodyM, ViewProj, ShadowM;
uniform vec3 StrandCol, HeadC; uniform float StrandGloss; out vec3 C;
void main() {
  float follow = smoothstep(-19., -8., p.y); vec4 q = mix(BodyM * vec4(p, 1), HeadM * vec4(p, 1), follow);
  vec3 tt = normalize(mix(mat3(BodyM) * t, mat3(HeadM) * t, follow)), v = normalize(Camera - q.xyz),
    sd = normalize(cross(tt, v));
  float s = shadow4(ShadowM * q, .012); q.xyz += sd * a.y * a.w; gl_Position = ViewProj * q;
  vec3 rd = normalize(q.xyz - HeadC), n = normalize(rd + sd * a.y * .28); float shift = (a.z - .5) * .10;
  float kt = dot(tt, KeyDir), sl = sqrt(max(0., 1. - kt * kt)), dif = mix(sl, 1., .35) * saturate(dot(n,
    KeyDir) * .62 + .42);
  vec3 t2 = normalize(tt + rd * (-.05 + shift)); float l2 = dot(t2, KeyDir), v2 = dot(t2, v);
  float k = pow(saturate(sqrt(max(0., 1. - l2 * l2)) * sqrt(max(0., 1. - v2 * v2)) - l2 * v2), 22.);
  vec3 light = StrandCol * 1.25 + .012, col = mix(StrandCol, light, saturate(.25 + .35 * a.x)) * mix(.86, 1.,
    smoothstep(0., .35, a.x)) * (.94 + .12 * a.z);
  vec3 amb = mix(Ground, Sky, rd.y * .5 + .5) * saturate(.60 + .40 * dot(rd, v));
  float fill = saturate(dot(n, FillDir) * .5 + .5);
  vec3 c = col * (KeyCol * dif * mix(.25, 1., s) * 1.05 + FillCol * fill * .9 + amb * 1.05);
  c += KeyCol * mix(.3, 1., s) * k * (col * .9 + .03) * StrandGloss * saturate(dot(rd, KeyDir) + .35);
  c += RimCol * pow(1. - saturate(dot(rd, v)), 2.) * saturate(dot(rd, RimDir) + .2) * (col * .9 + .02);
  C = tonemap(c); }
"""
)
HAIR_FS = HEAD + "in vec3 C; out vec4 o; void main() { o = vec4(C, 1.); }"

FRAME_VS = (
    HEAD
    + """
in vec3 p; in vec3 n; uniform mat4 HeadM, ViewProj; out vec3 N, W;
void main() { vec4 q = HeadM * vec4(p, 1); N = mat3(HeadM) * n; W = q.xyz; gl_Position = ViewProj * q; }
"""
)
FRAME_FS = (
    HEAD
    + LIGHT
    + """
in vec3 N, W; out vec4 o; uniform vec3 FrameCol;
void main() {
  vec3 n = normalize(N), v = normalize(Camera - W); float nl = saturate(dot(n, KeyDir) * .8 + .2);
  vec3 c = FrameCol * (KeyCol * nl + FillCol * saturate(dot(n, FillDir) * .6 + .4) + mix(Ground, Sky, n.y
    * .5 + .5));
  c += KeyCol * ggx(saturate(dot(n, normalize(KeyDir + v))), .4) * .02; o = vec4(tonemap(c), 1.); }
"""
)

SHADOW_VS = (
    HEAD
    + """
in vec3 p; in float follow; uniform mat4 HeadM, BodyM, ShadowM;
void main() { gl_Position = ShadowM * mix(BodyM * vec4(p, 1), HeadM * vec4(p, 1), follow); }
"""
)
SHADOW_HAIR_VS = (
    HEAD
    + """
in vec3 p; in vec3 t; in vec4 a; uniform mat4 HeadM, BodyM, ShadowM; uniform vec3 KeyDir;
void main() {
  float follow = smoothstep(-19., -8., p.y); vec4 q = mix(BodyM * vec4(p, 1), HeadM * vec4(p, 1), follow);
  vec3 tt = normalize(mix(mat3(BodyM) * t, mat3(HeadM) * t, follow));
  q.xyz += normalize(cross(tt, KeyDir)) * a.y * a.w;
  gl_Position = ShadowM * q; }
"""
)
EMPTY_FS = HEAD + "void main() {}"

SCREEN_VS = HEAD + "in vec2 p; out vec2 u; void main() { u = p; gl_Position = vec4(p, .99999, 1); }"
BACKDROP_FS = (
    HEAD
    + """
in vec2 u; out vec4 o; uniform vec3 Low, High, Blob; uniform vec4 Place; uniform float Tilt;
void main() {
  vec3 c = mix(Low, High, smoothstep(-1.3, 1.3, u.y + Tilt * u.x)); vec2 d = u - Place.xy;
  c = mix(c, Blob, Place.w * exp(-dot(d, d) / (Place.z * Place.z))); c *= 1. - .08 * dot(u, u);
  o = vec4(pow(saturate(c), vec3(1. / 2.2)), 1.); }
"""
)
HALVE_FS = HEAD + "in vec2 u; out vec4 o; uniform sampler2D Big; void main() { o = texture(Big, u * .5 + .5); }"

# Labels: one class number per pixel, written as number / 255.
LABEL_FS = (
    HEAD
    + MOUTH
    + """
in vec3 R, P; in vec4 UV; flat in int Mat; out vec4 o;
uniform sampler2D Paint0, Paint2; uniform vec3 EyeCL, EyeCR, AxisL, AxisR;
uniform float IrisR, Pupil, ScalpA, BeardOn;
void main() {
  float id = 1.; if (Mat == 6) discard;
  if (Mat <= 1) {
    bool neck = R.y < max(-3.8 - .45 * max(R.z, -1.), -8.3) || (R.z < -2. && R.y < -3.);
    if (Mat == 0) {
      vec4 t2 = texture(Paint2, UV.xy); if (t2.g > .5) id = 6.;
      if (BeardOn > .5 && texture(Paint0, UV.xy).b > .4) id = 17.; if (t2.r > .5) id = R.y > -3.36 ? 7. : 8.;
      if (texture(Paint0, UV.xy).g > .5) id = R.x > 0. ? 3. : 2.; if (neck && t2.r < .5 && id != 17.) id = 11.;
    } else { if (mouthPocket(R)) id = 9.; else if (neck) id = 11.; }
    if (abs(R.x) > 7.7 && R.y < 5. && R.y > -3.2 && R.z > -4.) id = 13.;
    else if (UV.z > 0. && ScalpA > .5) id = 10.;
    if (R.y < -7. && UV.w < 0.) id = 12.;
  } else if (Mat == 2) id = 9.; else if (Mat == 3) id = 14.;
  else { vec3 c = Mat == 4 ? EyeCL : EyeCR, axis = Mat == 4 ? AxisL : AxisR;
    float u = acos(clamp(dot(normalize(P - c), axis), -1., 1.)) / IrisR;
    id = u > 1. ? (Mat == 4 ? 5. : 4.) : (u > Pupil ? 15. : 16.); }
  o = vec4(id / 255., 0, 0, 1); }
"""
)
LABEL_HAIR_VS = (
    HEAD
    + """
in vec3 p; in vec3 t; in vec4 a; uniform mat4 HeadM, BodyM, ViewProj; uniform vec3 Camera;
void main() {
  float follow = smoothstep(-19., -8., p.y); vec4 q = mix(BodyM * vec4(p, 1), HeadM * vec4(p, 1), follow);
  vec3 tt = normalize(mix(mat3(BodyM) * t, mat3(HeadM) * t, follow));
  q.xyz += normalize(cross(tt, normalize(Camera - q.xyz))) * a.y * a.w;
  gl_Position = ViewProj * q; }
"""
)
LABEL_FLAT_FS = HEAD + "uniform float Class; out vec4 o; void main() { o = vec4(Class / 255., 0, 0, 1); }"

CLASS_NAMES = (
    "background",
    "skin",
    "brow_right",
    "brow_left",
    "eye_right",
    "eye_left",
    "nose",
    "lip_upper",
    "lip_lower",
    "mouth",
    "hair",
    "neck",
    "cloth",
    "ear",
    "teeth",
    "iris",
    "pupil",
    "beard",
    "glasses",
)
HAIR_CLASS, BEARD_CLASS, GLASSES_CLASS = 10, 17, 18
