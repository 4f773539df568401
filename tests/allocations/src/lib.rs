//! An allocator that counts, for tests and benches that bound memory.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//! ```
//!
//! Owns: bytes and calls, of one thread and of the process. Never: bounds anything itself. Invariant:
//! counting allocates nothing.

#![allow(unsafe_code, reason = "a counting allocator implements GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
static WATCHING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

fn add(bytes: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let _thread_ends = HERE.try_with(|sum| sum.set(sum.get().saturating_add(bytes)));
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if WATCHING.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
        LARGEST.fetch_max(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        add(size);
        // SAFETY: passed on as it came.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `f` and gives the bytes that this thread allocated for it, whether or not they are free again.
pub fn allocated<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = HERE.get();
    let out = f();
    (out, HERE.get() - before)
}

/// Allocations of the process so far.
#[must_use]
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// What all threads did while something ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// By how many bytes memory grew at the most.
    pub grown: usize,
    /// The largest single allocation.
    pub largest: usize,
}

/// Runs `f` and says what the whole process allocated meanwhile. One at a time.
pub fn watch<T>(f: impl FnOnce() -> T) -> (T, Usage) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    LARGEST.store(0, Ordering::Relaxed);
    WATCHING.store(true, Ordering::Relaxed);
    let out = f();
    WATCHING.store(false, Ordering::Relaxed);
    let grown = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    (out, Usage { grown, largest: LARGEST.load(Ordering::Relaxed) })
}
