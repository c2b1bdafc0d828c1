//! The bare server that the benchmark compares with: `load-baseline ADDRESS FIXTURES`.

use anyhow::Context as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (address, fixtures) = (arguments.next(), arguments.next());
    let address = address.context("usage: load-baseline ADDRESS FIXTURES")?;
    load::baseline::serve(&address, fixtures.context("usage: load-baseline ADDRESS FIXTURES")?.as_ref()).await
}
