
// Where a row of format {{ nth }} starts in both planes.
fn weight_row{{ nth }}(row: u32) -> vec2<u32> {
    let units = (params.groups + {{ unit_groups - 1 }}u) / {{ unit_groups }}u;
    let tile = row / TILE_ROWS * units * TILE_ROWS;
    return vec2<u32>(tile * {{ quant_words }}u, tile * {{ scale_words }}u) + vec2<u32>(row % TILE_ROWS);
}

