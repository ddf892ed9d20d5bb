// What differs from run to run, written by the backend once a run, but for the token that a GPU chose.
@group(0) @binding(1) var<storage, read> run: array<u32>;

const PAGE_TOKENS = {{ page_tokens }}u;

// The row's own token, or the one that the GPU chose last.
fn row_token(row: u32) -> u32 {
    let token = run[{{ rows_at }}u + row * {{ row_words }}u];
    return select(token, run[{{ chosen_at }}u], token == 0xffffffffu);
}

fn draw_number() -> u32 {
    return run[{{ draw_at }}u];
}

fn row_position(row: u32) -> u32 {
    return run[{{ rows_at }}u + row * {{ row_words }}u + 1u];
}

// The page that holds a position of the row's sequence.
fn row_page(row: u32, position: u32) -> u32 {
    return run[run[{{ rows_at }}u + row * {{ row_words }}u + 2u] + position / PAGE_TOKENS];
}

// The row that the i-th line of logits belongs to.
fn output_row(i: u32) -> u32 {
    return run[run[{{ outputs_at }}u] + i];
}

