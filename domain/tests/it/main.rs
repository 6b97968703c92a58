//! Laws of the domain: what holds for every sequence of orders, every amount, every moment and every
//! text, looked for by random search. The single rules are told beside them, in `domain/src`.

mod account;
mod ids;
mod laws;
mod life;
mod money;
mod offer;
mod orders;
mod record_line;
mod timestamp;
mod transaction;
mod user_offer;
