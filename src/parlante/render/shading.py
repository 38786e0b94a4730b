"""How skin, eyes and teeth meet light: one set of numbers and formulas for both renderers.

A portrait studio in camera space (x right, y up, z to the viewer): a soft warm key from the upper right, a cool fill
from the left, a rim from behind, and a hemisphere of ambient light. Light is computed linearly; the albedo is decoded
from sRGB before and the picture encoded after. Per fragment:

    albedo   = decode(texture * wrinkle ratio)              the ratio is one of sRGB values, as wrinkle maps define it
    normal   = n - BUMP * grad(log ratio)                   surface gradient, Mikkelsen 2010
    diffuse  = wrapped Lambert, each colour wrapped by its own mean free path: red bleeds furthest into the shadow
    ambient  = hemisphere * occlusion, brightened by the albedo (light bounces in folds; Jimenez et al. 2016)
    specular = key * (soft n.h^16 + sharp n.h^64 + glint n.h^512) + Fresnel sheen of the ambient light
    picture  = encode(tone(exposure * (diffuse + specular)))

The formulas are written out twice, in GLSL here and in numba in `parlante.render.soft`; a test holds them together.
"""

import numpy as np
from numpy.typing import NDArray

SKIN, EYE, TEETH, GUMS, TONGUE, LASHES, MOUTH = range(7)

REGION_MATERIAL = {
    "inner_mouth": MOUTH,
    "gums": GUMS,
    "teeth_upper": TEETH,
    "teeth_lower": TEETH,
    "tongue": TONGUE,
    "eyeball_left": EYE,
    "eyeball_right": EYE,
    "lashes": LASHES,
}
"""Topology region: material. Everything else is skin."""

#                          wrap, soft, sharp, glint, sheen, gain
MATERIALS: NDArray[np.float32] = np.array(
    [
        [1.0, 0.055, 0.060, 0.0, 0.25, 1.0],  # SKIN
        [0.6, 0.010, 0.030, 2.2, 0.15, 1.0],  # EYE
        [0.8, 0.040, 0.120, 0.30, 0.15, 1.25],  # TEETH
        [1.0, 0.060, 0.180, 0.30, 0.15, 1.0],  # GUMS
        [1.0, 0.050, 0.140, 0.12, 0.15, 1.0],  # TONGUE
        [0.3, 0.010, 0.000, 0.0, 0.00, 0.6],  # LASHES
        [0.8, 0.030, 0.060, 0.05, 0.05, 0.8],  # MOUTH
    ],
    dtype=np.float32,
)

BASE_COLOUR: NDArray[np.uint8] = np.array(
    [
        [205, 160, 137],
        [232, 228, 224],
        [228, 220, 204],
        [178, 98, 96],
        [184, 98, 98],
        [38, 30, 28],
        [120, 54, 52],
    ],
    dtype=np.uint8,
)
"""sRGB per material for a head without a texture."""

WRAP = (0.42, 0.22, 0.14)
"""How far red, green and blue reach around the terminator."""
BUMP = 0.0006
"""Metres of depth per unit of log ratio."""
EXPOSURE = 1.0
WHITE = 2.2
"""Linear value that the tone curve maps to 1."""


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = (x * x + y * y + z * z) ** 0.5
    return x / length, y / length, z / length


KEY = _unit(0.50, 0.55, 0.75)
KEY_LIGHT = (1.18, 1.10, 1.00)
FILL = _unit(-0.85, 0.15, 0.55)
FILL_LIGHT = (0.22, 0.24, 0.27)
RIM = _unit(-0.65, 0.45, -0.60)
RIM_LIGHT = (0.55, 0.58, 0.62)
SKY = (0.37, 0.38, 0.40)
GROUND = (0.21, 0.18, 0.16)

BACKGROUND_INNER = 0.60
BACKGROUND_OUTER = 0.30
"""Encoded grey behind the head and at the corners."""


def background(size: int) -> NDArray[np.float32]:
    """(size, size) encoded grey 0..1: a soft pool of light behind the head."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = axis[None, :] - 0.5, axis[:, None] - 0.42
    far = np.clip((x * x + y * y) / 0.55, 0.0, 1.0)
    far = far * (2.0 - far)
    return (BACKGROUND_INNER + (BACKGROUND_OUTER - BACKGROUND_INNER) * far).astype(np.float32)


def _glsl(values: tuple[float, ...]) -> str:
    return f"vec{len(values)}({', '.join(f'{value:.6f}' for value in values)})"


LIGHTING = f"""
    vec3 albedo = finish.y * texel * (texel * (texel * 0.305306011 + 0.682171111) + 0.012522878);
    float occlusion = look.x, lit = look.y, gloss = look.z;

    vec3 wrap = material.x * {_glsl(WRAP)};
    vec3 unwrap = 1.0 / ((1.0 + wrap) * (1.0 + wrap));
    float key = dot(n, {_glsl(KEY)});
    vec3 open = occlusion + (1.0 - occlusion) * 0.45 * albedo;
    vec3 light = {_glsl(KEY_LIGHT)} * lit * max(key + wrap, 0.0) * (1.0 + wrap) * unwrap
        + {_glsl(FILL_LIGHT)} * open * max(dot(n, {_glsl(FILL)}) + wrap, 0.0) * (1.0 + wrap) * unwrap
        + {_glsl(RIM_LIGHT)} * occlusion * max(dot(n, {_glsl(RIM)}), 0.0);
    vec3 sky = mix({_glsl(GROUND)}, {_glsl(SKY)}, 0.5 + 0.5 * n.y);
    vec3 sum = albedo * (light + sky * open);

    float nh = max(dot(n, normalize(view + {_glsl(KEY)})), 0.0);
    float p2 = nh * nh, p4 = p2 * p2, p8 = p4 * p4, p16 = p8 * p8, p32 = p16 * p16, p64 = p32 * p32;
    float p128 = p64 * p64, p512 = p128 * p128 * p128 * p128;
    float facing = clamp(key * 4.0, 0.0, 1.0) * lit;
    sum += {_glsl(KEY_LIGHT)} * facing * gloss * (material.y * p16 + material.z * p64 + material.w * p512);
    float edge = 1.0 - clamp(dot(n, view), 0.0, 1.0);
    edge *= edge;
    sum += sky * (finish.x * gloss * occlusion * edge * edge);

    sum *= {EXPOSURE:.6f};
    sum = sum * (1.0 + sum * {1 / WHITE**2:.6f}) / (1.0 + sum);
    sum = min(sum, vec3(1.0));
    vec3 s1 = sqrt(sum), s2 = sqrt(s1), s3 = sqrt(s2);
    vec3 encoded = clamp(0.662002687 * s1 + 0.684122060 * s2 - 0.323583601 * s3 - 0.0225411470 * sum, 0.0, 1.0);
    colour = vec4(encoded * look.w, look.w);
"""


def vertex_shader(wrinkled: bool) -> str:
    """GLSL of the vertex stage; every varying costs time on a CPU, so those of the wrinkles exist only with them."""
    tilt = WRINKLE_DECLARATIONS if wrinkled else ("", "", "")
    return f"""
#version 330
uniform mat4 projection;
in vec3 position; in vec3 normal; in vec2 uv; in vec4 surface; {tilt[0]}
out vec3 n0; out vec2 st; out vec4 look; {tilt[1]}
void main() {{
    n0 = normal; st = uv; look = surface; {tilt[2]}
    gl_Position = projection * vec4(position, 1.0);
}}
"""


WRINKLE_DECLARATIONS = (
    "in vec3 grad_u; in vec3 grad_v;",
    "out vec3 gu; out vec3 gv;",
    "gu = grad_u; gv = grad_v;",
)
WRINKLE_FRAGMENT = f"""
    texel = min(texel * texture(ratio_map, st).rgb, vec3(1.0));
    vec2 slope = texture(slope_map, st).rg;
    n = normalize(n - {BUMP:.6f} * (slope.x * gu + slope.y * gv));
"""


def fragment_shader(wrinkled: bool) -> str:
    """GLSL of the fragment stage. `lens` (scale, offset) turns a pixel into the direction to the eye."""
    return f"""
#version 330
uniform sampler2D albedo_map; uniform vec4 material; uniform vec2 finish; uniform vec2 lens;
{"uniform sampler2D ratio_map; uniform sampler2D slope_map; in vec3 gu; in vec3 gv;" if wrinkled else ""}
in vec3 n0; in vec2 st; in vec4 look;
out vec4 colour;
void main() {{
    vec3 view = normalize(vec3(lens.y - gl_FragCoord.xy * lens.x, 1.0));
    vec3 texel = texture(albedo_map, st).rgb;
    vec3 n = normalize(n0);
    {WRINKLE_FRAGMENT if wrinkled else ""}
    if (!gl_FrontFacing) n = -n;
{LIGHTING}}}
"""


RESOLVE_VERTEX_SHADER = """
#version 330
out vec2 st;
void main() {
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    st = corner * 0.5 + 0.5;
    gl_Position = vec4(corner, 0.0, 1.0);
}
"""

RESOLVE_FRAGMENT_SHADER = """
#version 330
uniform sampler2D samples; uniform sampler2D backdrop;
in vec2 st;
out vec4 colour;
void main() {
    vec4 head = texture(samples, st);
    float grey = texture(backdrop, st).r;
    colour = vec4(head.rgb + (1.0 - head.a) * grey, 1.0);
}
"""
