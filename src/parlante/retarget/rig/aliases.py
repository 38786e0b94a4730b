"""What other rigs call the weights of ARKit, Oculus' visemes and VRM's vowels: read by `character.targets`.

Names are plain: lower case, letters only, the side as `left` or `right` at the end.

Rigs: Faceshift, Mixamo, Character Creator (CC3, CC4), MetaHuman controls, Unified Expressions and SRanipal of VRChat,
Daz, Rocketbox, Avatar SDK, VRoid and MikuMikuDance.
"""

SIDED: dict[str, tuple[str, ...]] = {
    "eyeBlink": ("blink", "eyeclose", "eyesclose", "eyeclosed", "eyesclosed", "eyelidclose", "wink"),
    "eyeSquint": ("squint", "eyesquintinner", "eyelidtightener"),
    "eyeWide": ("eyewiden", "eyeswide", "eyeopen", "upperlidraise"),
    "eyeLookUp": ("eyeup",),
    "eyeLookDown": ("eyedown",),
    "eyeLookIn": ("eyein",),
    "eyeLookOut": ("eyeout",),
    "browDown": ("browdrop", "browlowerer", "browsdown", "browsd", "browlower"),
    "browOuterUp": ("browraiseouter", "browsouterup", "browsu", "browsup", "browouterraise"),
    "cheekSquint": ("cheekraise", "eyecheekraise", "cheekraiser"),
    "noseSneer": ("nosewrinkle", "nosescrunch", "nosewrinkler"),
    "mouthSmile": ("smile", "mouthcornerpull", "cornerpull", "lipcornerpull", "lipcornerpuller"),
    "mouthFrown": ("frown", "mouthcornerdepress", "mouthsad", "lipcornerdepress", "lipcornerdepressor"),
    "mouthDimple": ("mouthdimpler", "dimpler"),
    "mouthStretch": ("lipsstretch", "lipstretch", "lipstretcher"),
    "mouthPress": ("lippress", "mouthpresser", "lippressor"),
    "mouthLowerDown": ("mouthlowerlipdepress", "lowerlipdepress", "lowerlipdown", "mouthdownlower", "lipslowerdown"),
    "mouthUpperUp": ("mouthupperlipraise", "upperlipraise", "upperlipup", "mouthupupper", "lipsupperup"),
}
"""A pair of weights without its side -> plain names that mean the same."""
WHOLE: dict[str, tuple[str, ...]] = {
    "jawOpen": ("jawdown", "jawdrop", "openjaw"),
    "jawForward": ("jawfwd", "jawforeward", "jawforwards", "jawthrust"),
    "mouthClose": ("mouthclosed", "lipstogether", "mouthlipstogether", "lipstoward"),
    "mouthPucker": (
        *("lippucker", "lipspucker", "pucker", "lippuckerer", "lippuckerupper", "lippuckerlower", "mouthpuckerup"),
        *("mouthpuckerdown", "mouthlipspurse", "lipspurse", "mouthpout"),
    ),
    "mouthFunnel": (
        *("lipfunnel", "lipsfunnel", "lipfunneler", "lipfunnelupper", "lipfunnellower", "mouthfunnelup"),
        *("mouthfunneldown",),
    ),
    "mouthRollUpper": ("mouthrollinupper", "upperlipin", "lipsuckupper", "mouthupperlipbite", "mouthupperinside"),
    "mouthRollLower": ("mouthrollinlower", "lowerlipin", "lipsucklower", "mouthlowerlipbite", "mouthlowerinside"),
    "mouthShrugUpper": ("chinupperraise", "mouthraiserupper", "chinraiserupper"),
    "mouthShrugLower": ("chinlowerraise", "mouthraiserlower", "chinraiserlower", "jawchinraise", "mouthchinup"),
    "browInnerUp": ("browraiseinner", "browraisein", "browsuc", "browinnerraise"),
    "cheekPuff": ("puff", "cheekspuff", "mouthcheekblow", "cheekblow"),
}
"""A weight without sides -> plain names, whatever side they have: rigs split what ARKit does not."""
BOTH = {"eyeBlink": "eyesclosed", "eyeLookUp": "eyeslookup", "eyeLookDown": "eyeslookdown"}
"""What a target for both sides of a pair at once is called; of other pairs it is the pair's name in lower case."""
PLAIN: dict[str, str] = {
    "openmouth": "mouthopen", "mouthopened": "mouthopen",
    "blink": "eyesclosed", "eyeblink": "eyesclosed", "eyesblink": "eyesclosed", "eyeclose": "eyesclosed",
    "eyeclosed": "eyesclosed", "closeeyes": "eyesclosed", "eyesclose": "eyesclosed",
    "mouthsad": "mouthfrown",
    "browup": "browsup", "browsup": "browsup", "browraise": "browsup", "browsraise": "browsup",
    "browsdown": "browdown", "eyeswide": "eyewide",
    "eyelookup": "eyeslookup", "eyelookdown": "eyeslookdown",
    "lookup": "vrm:lookup", "lookdown": "vrm:lookdown", "lookleft": "vrm:lookleft", "lookright": "vrm:lookright",
    "eyeslookleft": "vrm:lookleft", "eyeslookright": "vrm:lookright",
}  # fmt: skip
"""Other plain names. A mere `smile` is not among them: it may be a mood of the whole face."""
WHOLE_NAMES: dict[str, str] = {
    "あ": "vrm:aa", "い": "vrm:ih", "う": "vrm:ou", "え": "vrm:ee", "お": "vrm:oh",
    "まばたき": "vrm:blink", "口角上げ": "mouthsmile",
}  # fmt: skip
"""Names as they are written, of MikuMikuDance."""
VROID = {
    **{f"mth_{vowel}": f"vrm:{name}" for vowel, name in zip("aiueo", ("aa", "ih", "ou", "ee", "oh"), strict=True)},
    "eye_close": "vrm:blink", "eye_close_l": "vrm:blinkleft", "eye_close_r": "vrm:blinkright",
    "eye_spread": "eyewide", "brw_surprised": "browsup", "brw_angry": "browdown",
}  # fmt: skip
"""VRoid's targets, behind `Fcl_`, in lower case."""
VISEMES = {
    **{name: name for name in ("sil", "pp", "ff", "th", "dd", "kk", "ch", "ss", "nn", "rr", "aa", "e", "i", "o", "u")},
    "ee": "e", "eh": "e", "ih": "i", "oh": "o", "ou": "u", "w": "u",
}  # fmt: skip
"""Endings of `viseme_`, `vrc.v_` and Rocketbox's `AA_VI_10_`, in lower case -> Oculus' own."""
CREATOR = {
    "open": "viseme:aa", "explosive": "viseme:pp", "dentallip": "viseme:ff", "tighto": "viseme:o",
    "tight": "viseme:u", "wide": "viseme:i", "affricate": "viseme:ch", "lipopen": "viseme:e",
}  # fmt: skip
"""Visemes of Character Creator, behind `V_` or, in CC3, alone."""
DAZ = {
    "aa": "aa", "eh": "e", "ee": "i", "iy": "i", "ow": "o", "uw": "u", "w": "u", "m": "pp", "f": "ff", "th": "th",
    "sh": "ch", "s": "ss", "t": "dd", "k": "kk", "er": "rr",
}  # fmt: skip
"""Visemes of Daz, behind `eCTRLv`."""
