// A unit's words: d and dmin, then a byte of scale and a byte of minimum a group.
fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    let unit = group / 8u;
    let j = group % 8u;
    let dm = half2(scale_word(at, unit * 5u));
    let bytes = scale_word(at, unit * 5u + 1u + j / 2u) >> (16u * (j % 2u));
    let s = f32(bytes & 0xffu) * dm.x;
    let m = f32((bytes >> 8u) & 0xffu) * dm.y;
    return nibble_group(quant_word(at, group), s, -m, 1.0, 1.0);
}
