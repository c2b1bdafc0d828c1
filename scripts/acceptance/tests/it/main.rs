//! The black-box tests. One file a subject; `s0` to `s4` follow the requirements by number.
//!
//! Every test is `World::…().run(async |world| …)`; see the documentation of the crate `acceptance`.

#[cfg(test)]
mod at_once;
mod bad_input;
#[cfg(test)]
mod best_available;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod cancellations;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod clusters;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod halls;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod holding;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod no_room;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod order;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod outflow;
#[cfg(test)]
mod paying;
#[cfg(test)]
mod points;
#[cfg(test)]
mod races;
#[cfg(test)]
mod refunds;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod s0;
#[cfg(test)]
mod s1;
#[cfg(test)]
mod s2;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod s4;
#[cfg(test)]
mod seat_maps;
#[cfg(test)]
mod stock;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod together;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod view;
