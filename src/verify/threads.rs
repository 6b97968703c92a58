//! Work on several threads whose results come in order, with bounded memory.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Items that wait for each thread, and results that wait behind it.
const WAITING: usize = 1;

/// Gives each item of `source` to one of so many threads, which `work` on it, and the results to `take`, in the order of
/// the items, until that breaks. `source` runs on a thread of its own.
pub fn in_order<I, T, E>(
    threads: usize,
    mut source: impl FnMut() -> Result<Option<I>, E> + Send,
    work: impl Fn(I) -> T + Sync,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), E>
where
    I: Send,
    T: Send,
    E: Send,
{
    let count = threads.max(1);
    let (items, inboxes): (Vec<SyncSender<I>>, Vec<Receiver<I>>) =
        (0..count).map(|_| sync_channel(WAITING)).unzip();
    let (outboxes, results): (Vec<SyncSender<T>>, Vec<Receiver<T>>) =
        (0..count).map(|_| sync_channel(WAITING)).unzip();
    thread::scope(|scope| {
        let work = &work;
        for (inbox, outbox) in inboxes.into_iter().zip(outboxes) {
            scope.spawn(move || {
                for item in inbox {
                    if outbox.send(work(item)).is_err() {
                        break; // nobody wants more
                    }
                }
            });
        }
        let reader = scope.spawn(move || {
            for to in (0..count).cycle() {
                let Some(item) = source()? else { break };
                if items[to].send(item).is_err() {
                    break; // nobody wants more
                }
            }
            Ok(())
        });
        for from in (0..count).cycle() {
            let Ok(result) = results[from].recv() else { break };
            if take(result).is_break() {
                break;
            }
        }
        drop(results); // ends the threads that still work
        reader.join().expect("reading does not panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_until_they_are_no_longer_wanted() {
        let mut next = 0_u64;
        let source = move || -> Result<Option<u64>, ()> {
            next += 1;
            Ok((next <= 1_000).then_some(next))
        };
        let mut taken = Vec::new();
        let take = |square: u64| {
            taken.push(square);
            if taken.len() < 500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        assert_eq!(in_order(3, source, |n| n * n, take), Ok(()));
        assert_eq!(taken, (1..=500).map(|n| n * n).collect::<Vec<u64>>());
    }

    #[test]
    fn an_error_of_the_source_comes_after_the_results_before_it() {
        let mut items = vec![Err("cut off"), Ok(Some(2)), Ok(Some(1))];
        let mut taken = Vec::new();
        let take = |item| {
            taken.push(item);
            ControlFlow::Continue(())
        };
        assert_eq!(in_order(2, move || items.pop().unwrap_or(Ok(None)), |item| item, take), Err("cut off"));
        assert_eq!(taken, [1, 2]);
    }
}
