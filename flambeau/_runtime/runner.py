"""The native part of the thread pool, as LLVM IR text: see ``pool.py`` for what it does.

A *job* is one shared call. Its chunks are dealt out in contiguous ranges, one a thread, and always in the same way: the
next kernel finds in each core's cache what the last one left there (twice as fast for tensors that fit). A thread that is
through with its range helps with the others'.

Two kinds of word hold this together. The *bell* is ``(job number, chunks)``; setting it publishes a job. Each range has a
*ticket*, ``(job number, chunks that nobody has claimed)``, and a chunk is claimed by compare-and-swap on it; the first claim
of a job also resets the ticket, so that publishing writes one word for any number of threads. A claim succeeds only if
the very job that the thread saw on the bell still has that chunk. So a thread that comes late never touches a job that is over,
and the calling thread waits for chunks that were claimed, not for threads to wake up. That matters on a busy machine: a
worker whose core was taken away costs its share and stalls nobody.

Why a ticket can be reset: a job ends when all its chunks are done, hence after every ticket with a chunk to give was set to
the job's number. Who sees a ticket with another number, and *then* the bell still with its own job's, knows that the ticket is
an older one, and that the job cannot end before the ticket has changed; if it does, compare-and-swap fails. (Job numbers have
48 bits, and wrap around after years.)

Memory order. Ringing the bell is a release and reading it an acquire, so that who knows of a job sees its description.
Tickets are read with acquire and swapped with acquire and release, which orders a ticket before the bell. Adding to ``done``
is a release and reading it an acquire, so that who sees all chunks done sees what they wrote; only then is the next job
described. A thread falls asleep in the order *say so, look again, sleep if nothing changed* and is woken in the order *change,
look who sleeps*; these are sequentially consistent, and the kernel compares the word again before it puts a thread to sleep.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import sys
from functools import lru_cache
from string import Template

from flambeau._runtime.jit import compile_kernels

MAX_THREADS = 1024
MAX_CHUNKS = 4096
"""More chunks than this only cost; the words above have room for 65535."""

CALL_WORDS = 6
"""A call: function, params, tiles, grain, chunks (tiles / grain, rounded up), scratch bytes; 8 bytes each."""

# The state, in bytes from its start. What different threads write lies on different pairs of cache lines, since
# processors fetch lines in pairs.
BELL, DONE, CALLER_SLEEPS, SLEEPERS, BUSY = 0, 128, 136, 256, 384
JOB_CALL, JOB_TABLE, SCRATCH, SCRATCH_STRIDE = 512, 520, 528, 536
LIMIT, WORKERS = 640, 648  # workers numbered LIMIT and above leave; how many there are
SPARE = 768  # scratch memory that a calling thread left behind, for the next one
TICKETS, TICKET_STRIDE = 896, 128
STATE_BYTES = TICKETS + TICKET_STRIDE * MAX_THREADS

_JOB = 1 << 16
_SPIN_NANOSECONDS = 20_000
_HOT_NANOSECONDS = 200_000

_IR = Template("""
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare i64 @llvm.smin.i64(i64, i64)
$declarations

define internal ptr @field(ptr %state, i64 %offset) alwaysinline {
  %address = getelementptr i8, ptr %state, i64 %offset
  ret ptr %address
}

; Sleep while the 32-bit word at %word is %value; may also return for no reason.
define internal void @sleep(ptr %word, i32 %value) noinline {
$sleep
  ret void
}

; Wake all threads that sleep on %word.
define internal void @wake(ptr %word) noinline {
$wake
  ret void
}

; One step of waiting: spin, later yield the core. Returns true once it is time to sleep. %clock: {steps, start}, from zero.
define internal i1 @pause(ptr %clock) noinline {
  %time = alloca [2 x i64]
  %steps = load i64, ptr %clock
  %next = add i64 %steps, 1
  store i64 %next, ptr %clock
  $relax
  %early = icmp ult i64 %steps, 64
  br i1 %early, label %again, label %timed
timed:
  %failed = call i32 @clock_gettime(i32 $clock, ptr %time)
  %seconds = load i64, ptr %time
  %fraction.at = getelementptr i64, ptr %time, i64 1
  %fraction = load i64, ptr %fraction.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %fraction
  %start.at = getelementptr i64, ptr %clock, i64 1
  %first = icmp eq i64 %steps, 64
  br i1 %first, label %begin, label %measure
begin:
  store i64 %now, ptr %start.at
  br label %again
measure:
  %start = load i64, ptr %start.at
  %waited = sub i64 %now, %start
  %short = icmp ult i64 %waited, $spin
  br i1 %short, label %again, label %long
long:
  %ignored = call i32 @sched_yield()
  %over = icmp uge i64 %waited, $hot
  ret i1 %over
again:
  ret i1 false
}

; Claim and compute chunks of one range of the job that %bell announced, until it has none; returns how many.
; Thread 0 is the calling one and has scratch of its own.
define internal i64 @drain(ptr %state, i64 %bell, i64 %range, i64 %threads, i64 %thread, ptr %own) noinline {
entry:
  %bell.at = call ptr @field(ptr %state, i64 $BELL)
  %tickets = call ptr @field(ptr %state, i64 $TICKETS)
  %ticket.offset = mul i64 %range, $TICKET_STRIDE
  %ticket = getelementptr i8, ptr %tickets, i64 %ticket.offset
  %call.at = call ptr @field(ptr %state, i64 $JOB_CALL)
  %table.at = call ptr @field(ptr %state, i64 $JOB_TABLE)
  %scratch.at = call ptr @field(ptr %state, i64 $SCRATCH)
  %stride.at = call ptr @field(ptr %state, i64 $SCRATCH_STRIDE)
  ; Ranges are dealt from the last to the first, so that the calling thread has one if there are fewer chunks than threads.
  %chunks = and i64 %bell, 65535
  %upper = sub i64 %threads, %range
  %lower = sub i64 %upper, 1
  %upper.scaled = mul i64 %upper, %chunks
  %lower.scaled = mul i64 %lower, %chunks
  %range.end = udiv i64 %upper.scaled, %threads
  %range.begin = udiv i64 %lower.scaled, %threads
  %size = sub i64 %range.end, %range.begin
  %job = sub i64 %bell, %chunks
  %fresh = add i64 %job, %size
  %empty = icmp eq i64 %size, 0
  br i1 %empty, label %done, label %claim
claim:
  %count = phi i64 [ 0, %entry ], [ %count, %swap ], [ %count.next, %compute ]
  %seen = load atomic i64, ptr %ticket acquire, align 8
  %seen.left = and i64 %seen, 65535
  %seen.job = sub i64 %seen, %seen.left
  %current = icmp eq i64 %seen.job, %job
  br i1 %current, label %ours, label %other
other:
  %bell.again = load atomic i64, ptr %bell.at acquire, align 8
  %rung = icmp ne i64 %bell.again, %bell
  br i1 %rung, label %done, label %swap
ours:
  %none = icmp eq i64 %seen.left, 0
  br i1 %none, label %done, label %swap
swap:
  %offer = phi i64 [ %fresh, %other ], [ %seen, %ours ]
  %less = sub i64 %offer, 1
  %pair = cmpxchg ptr %ticket, i64 %seen, i64 %less acq_rel monotonic, align 8
  %claimed = extractvalue { i64, i1 } %pair, 1
  br i1 %claimed, label %compute, label %claim
compute:
  %call = load ptr, ptr %call.at
  %table = load ptr, ptr %table.at
  %function = load ptr, ptr %call
  %params.at = getelementptr i64, ptr %call, i64 1
  %params = load ptr, ptr %params.at
  %tiles.at = getelementptr i64, ptr %call, i64 2
  %tiles = load i64, ptr %tiles.at
  %grain.at = getelementptr i64, ptr %call, i64 3
  %grain = load i64, ptr %grain.at
  %left = and i64 %offer, 65535
  %chunk = sub i64 %range.end, %left
  %first = mul i64 %chunk, %grain
  %full = add i64 %first, %grain
  %last = call i64 @llvm.smin.i64(i64 %full, i64 %tiles)
  %scratch = load ptr, ptr %scratch.at
  %stride = load i64, ptr %stride.at
  %before = sub i64 %thread, 1
  %offset = mul i64 %before, %stride
  %mine = getelementptr i8, ptr %scratch, i64 %offset
  %caller = icmp eq i64 %thread, 0
  %private = select i1 %caller, ptr %own, ptr %mine
  call void %function(ptr %table, ptr %params, i64 %first, i64 %last, ptr %private)
  %count.next = add i64 %count, 1
  br label %claim
done:
  %result = phi i64 [ 0, %entry ], [ %count, %other ], [ %count, %ours ]
  ret i64 %result
}

; A worker's life. %slot: {state, number from 0, threads in all}.
define internal ptr @worker(ptr %slot) {
entry:
  %clock = alloca [2 x i64]
  %state = load ptr, ptr %slot
  %index.at = getelementptr i64, ptr %slot, i64 1
  %index = load i64, ptr %index.at
  %threads.at = getelementptr i64, ptr %slot, i64 2
  %threads = load i64, ptr %threads.at
  %thread = add i64 %index, 1
  %bell.at = call ptr @field(ptr %state, i64 $BELL)
  %limit.at = call ptr @field(ptr %state, i64 $LIMIT)
  %done.at = call ptr @field(ptr %state, i64 $DONE)
  %caller.at = call ptr @field(ptr %state, i64 $CALLER_SLEEPS)
  %sleepers.at = call ptr @field(ptr %state, i64 $SLEEPERS)
  br label %rest
rest:
  %known = phi i64 [ 0, %entry ], [ %known, %rise ], [ %bell, %next.range ]
  store [2 x i64] zeroinitializer, ptr %clock
  br label %look
look:
  %bell = load atomic i64, ptr %bell.at acquire, align 8
  %silent = icmp eq i64 %bell, %known
  br i1 %silent, label %stay, label %work
stay:
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %surplus = icmp uge i64 %index, %limit
  br i1 %surplus, label %leave, label %wait
wait:
  %tired = call i1 @pause(ptr %clock)
  br i1 %tired, label %doze, label %look
doze:
  %counted.in = atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  %bell.again = load atomic i64, ptr %bell.at seq_cst, align 8
  %silent.again = icmp eq i64 %bell.again, %known
  %limit.again = load atomic i64, ptr %limit.at seq_cst, align 8
  %needed = icmp ult i64 %index, %limit.again
  %sleepy = and i1 %silent.again, %needed
  br i1 %sleepy, label %fall.asleep, label %rise
fall.asleep:
  %low = trunc i64 %known to i32
  call void @sleep(ptr %bell.at, i32 %low)
  br label %rise
rise:
  %counted.out = atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  br label %rest
work:
  %step = phi i64 [ 0, %look ], [ %step.next, %next.range ]
  %sum = add i64 %thread, %step
  %range = urem i64 %sum, %threads
  %count = call i64 @drain(ptr %state, i64 %bell, i64 %range, i64 %threads, i64 %thread, ptr null)
  %helped = icmp ne i64 %count, 0
  br i1 %helped, label %report, label %next.range
report:
  %earlier = atomicrmw add ptr %done.at, i64 %count seq_cst
  %caller = load atomic i32, ptr %caller.at seq_cst, align 4
  %sleeps = icmp ne i32 %caller, 0
  br i1 %sleeps, label %rouse, label %next.range
rouse:
  call void @wake(ptr %done.at)
  br label %next.range
next.range:
  %step.next = add i64 %step, 1
  %last = icmp eq i64 %step.next, %threads
  br i1 %last, label %rest, label %work
leave:
  ret ptr null
}

; Share a call among so many threads. The caller holds BUSY.
define internal void @together(ptr %state, ptr %call, ptr %table, ptr %own, i64 %threads) {
entry:
  %clock = alloca [2 x i64]
  store [2 x i64] zeroinitializer, ptr %clock
  %bell.at = call ptr @field(ptr %state, i64 $BELL)
  %done.at = call ptr @field(ptr %state, i64 $DONE)
  %caller.at = call ptr @field(ptr %state, i64 $CALLER_SLEEPS)
  %sleepers.at = call ptr @field(ptr %state, i64 $SLEEPERS)
  %call.at = call ptr @field(ptr %state, i64 $JOB_CALL)
  %table.at = call ptr @field(ptr %state, i64 $JOB_TABLE)
  %chunks.at = getelementptr i64, ptr %call, i64 4
  %chunks = load i64, ptr %chunks.at
  store ptr %call, ptr %call.at
  store ptr %table, ptr %table.at
  store atomic i64 0, ptr %done.at monotonic, align 8
  ; Only who holds BUSY rings the bell: nobody else changes it meanwhile.
  %old = load atomic i64, ptr %bell.at monotonic, align 8
  %old.chunks = and i64 %old, 65535
  %old.job = sub i64 %old, %old.chunks
  %job = add i64 %old.job, $JOB
  %bell = add i64 %job, %chunks
  %replaced = atomicrmw xchg ptr %bell.at, i64 %bell seq_cst
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %asleep = icmp ne i64 %sleepers, 0
  br i1 %asleep, label %ring, label %compute
ring:
  call void @wake(ptr %bell.at)
  br label %compute
compute:
  %range = phi i64 [ 0, %entry ], [ 0, %ring ], [ %range.next, %next.range ]
  %sum = phi i64 [ 0, %entry ], [ 0, %ring ], [ %sum.next, %next.range ]
  %count = call i64 @drain(ptr %state, i64 %bell, i64 %range, i64 %threads, i64 0, ptr %own)
  %sum.next = add i64 %sum, %count
  %rest = sub i64 %chunks, %sum.next
  %done.early = load atomic i64, ptr %done.at acquire, align 8
  %finished.early = icmp eq i64 %done.early, %rest
  br i1 %finished.early, label %over, label %next.range
next.range:
  %range.next = add i64 %range, 1
  %last = icmp eq i64 %range.next, %threads
  br i1 %last, label %look, label %compute
look:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %finished = icmp eq i64 %done, %rest
  br i1 %finished, label %over, label %wait
wait:
  %tired = call i1 @pause(ptr %clock)
  br i1 %tired, label %doze, label %look
doze:
  store atomic i32 1, ptr %caller.at seq_cst, align 4
  %done.again = load atomic i64, ptr %done.at seq_cst, align 8
  %finished.again = icmp eq i64 %done.again, %rest
  br i1 %finished.again, label %awake, label %fall.asleep
fall.asleep:
  %expected = trunc i64 %done.again to i32
  call void @sleep(ptr %done.at, i32 %expected)
  br label %awake
awake:
  store atomic i32 0, ptr %caller.at monotonic, align 4
  br label %look
over:
  ret void
}

; Memory for scratch, with its size in the 64 bytes before it; null if there is none.
define internal ptr @allocate(i64 %bytes) noinline {
  %at = alloca ptr
  %total = add i64 %bytes, 64
  %failed = call i32 @posix_memalign(ptr %at, i64 64, i64 %total)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %none, label %good
good:
  %block = load ptr, ptr %at
  store i64 %bytes, ptr %block
  %memory = getelementptr i8, ptr %block, i64 64
  ret ptr %memory
none:
  ret ptr null
}

define internal void @release(ptr %memory) noinline {
  %empty = icmp eq ptr %memory, null
  br i1 %empty, label %nothing, label %something
something:
  %block = getelementptr i8, ptr %memory, i64 -64
  call void @free(ptr %block)
  ret void
nothing:
  ret void
}

; Scratch for the calling thread: what an earlier one left behind, if it is large enough.
define internal ptr @borrow(ptr %state, i64 %bytes) {
  %spare.at = call ptr @field(ptr %state, i64 $SPARE)
  %spare = atomicrmw xchg ptr %spare.at, ptr null acq_rel
  %empty = icmp eq ptr %spare, null
  br i1 %empty, label %fresh, label %check
check:
  %size.at = getelementptr i8, ptr %spare, i64 -64
  %size = load i64, ptr %size.at
  %fits = icmp uge i64 %size, %bytes
  br i1 %fits, label %reuse, label %fresh
reuse:
  ret ptr %spare
fresh:
  call void @release(ptr %spare)
  %memory = call ptr @allocate(i64 %bytes)
  ret ptr %memory
}

; Make the workers' scratch at least %bytes each. The caller holds BUSY. Returns false if there is no memory.
define internal i1 @grow(ptr %state, i64 %bytes) noinline {
  %scratch.at = call ptr @field(ptr %state, i64 $SCRATCH)
  %stride.at = call ptr @field(ptr %state, i64 $SCRATCH_STRIDE)
  %workers.at = call ptr @field(ptr %state, i64 $WORKERS)
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %padded = add i64 %bytes, 4095
  %stride = and i64 %padded, -4096
  %total = mul i64 %stride, %workers
  %old = load ptr, ptr %scratch.at
  call void @release(ptr %old)
  %memory = call ptr @allocate(i64 %total)
  %good = icmp ne ptr %memory, null
  %usable = select i1 %good, i64 %stride, i64 0
  store ptr %memory, ptr %scratch.at
  store i64 %usable, ptr %stride.at
  ret i1 %good
}

; Run calls [begin, end) of a program. %task: {state, calls, scratch bytes, table, begin, end}.
; Returns 0, 1 + the index of the call that left an error, or -1 if there is no memory for scratch.
define internal i64 @run(ptr %task) {
entry:
  %state = load ptr, ptr %task
  %calls.at = getelementptr i64, ptr %task, i64 1
  %calls = load ptr, ptr %calls.at
  %bytes.at = getelementptr i64, ptr %task, i64 2
  %bytes = load i64, ptr %bytes.at
  %table.at = getelementptr i64, ptr %task, i64 3
  %table = load ptr, ptr %table.at
  %begin.at = getelementptr i64, ptr %task, i64 4
  %begin = load i64, ptr %begin.at
  %end.at = getelementptr i64, ptr %task, i64 5
  %end = load i64, ptr %end.at
  %busy.at = call ptr @field(ptr %state, i64 $BUSY)
  %workers.at = call ptr @field(ptr %state, i64 $WORKERS)
  %stride.at = call ptr @field(ptr %state, i64 $SCRATCH_STRIDE)
  %error = load ptr, ptr %table
  %plain = icmp eq i64 %bytes, 0
  br i1 %plain, label %next, label %prepare
prepare:
  %borrowed = call ptr @borrow(ptr %state, i64 %bytes)
  %missing = icmp eq ptr %borrowed, null
  br i1 %missing, label %fail, label %next
next:
  %own = phi ptr [ null, %entry ], [ %borrowed, %prepare ], [ %own, %advance ]
  %index = phi i64 [ %begin, %entry ], [ %begin, %prepare ], [ %index.next, %advance ]
  %more = icmp slt i64 %index, %end
  br i1 %more, label %one, label %stop
one:
  %offset = mul i64 %index, $CALL_WORDS
  %call = getelementptr i64, ptr %calls, i64 %offset
  %chunks.at = getelementptr i64, ptr %call, i64 4
  %chunks = load i64, ptr %chunks.at
  %large = icmp sgt i64 %chunks, 1
  br i1 %large, label %find, label %alone
find:
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %some = icmp ne i64 %workers, 0
  br i1 %some, label %lock, label %alone
lock:
  %pair = cmpxchg ptr %busy.at, i64 0, i64 1 acquire monotonic, align 8
  %locked = extractvalue { i64, i1 } %pair, 1
  br i1 %locked, label %recount, label %alone
recount:
  ; Workers may have been dismissed just now. Those that are still leaving would deal the chunks out for another number.
  %hands = load atomic i64, ptr %workers.at monotonic, align 8
  %left = icmp eq i64 %hands, 0
  br i1 %left, label %unlock, label %equip
equip:
  %threads = add i64 %hands, 1
  %scratch.at = getelementptr i64, ptr %call, i64 5
  %scratch = load i64, ptr %scratch.at
  %stride = load i64, ptr %stride.at
  %enough = icmp uge i64 %stride, %scratch
  br i1 %enough, label %parallel, label %more.scratch
more.scratch:
  %grown = call i1 @grow(ptr %state, i64 %scratch)
  br i1 %grown, label %parallel, label %unlock
parallel:
  call void @together(ptr %state, ptr %call, ptr %table, ptr %own, i64 %threads)
  store atomic i64 0, ptr %busy.at release, align 8
  br label %check
unlock:
  store atomic i64 0, ptr %busy.at release, align 8
  br label %alone
alone:
  %function = load ptr, ptr %call
  %params.at = getelementptr i64, ptr %call, i64 1
  %params = load ptr, ptr %params.at
  %tiles.at = getelementptr i64, ptr %call, i64 2
  %tiles = load i64, ptr %tiles.at
  %skipped = icmp eq i64 %tiles, 0
  br i1 %skipped, label %advance, label %compute
compute:
  call void %function(ptr %table, ptr %params, i64 0, i64 %tiles, ptr %own)
  br label %check
check:
  %code = load i64, ptr %error
  %bad = icmp ne i64 %code, 0
  br i1 %bad, label %report, label %advance
advance:
  %index.next = add i64 %index, 1
  br label %next
report:
  %where = getelementptr i64, ptr %error, i64 3
  store i64 %index, ptr %where
  %one.based = add i64 %index, 1
  br label %stop
stop:
  %result = phi i64 [ 0, %next ], [ %one.based, %report ]
  br i1 %plain, label %finish, label %give.back
give.back:
  %spare.at = call ptr @field(ptr %state, i64 $SPARE)
  %left.by.another = atomicrmw xchg ptr %spare.at, ptr %own acq_rel
  call void @release(ptr %left.by.another)
  br label %finish
finish:
  ret i64 %result
fail:
  ret i64 -1
}

; Set the number of workers; those beyond it leave. Returns whether that was possible, which it is not while a call is being
; shared: how its chunks are dealt out depends on the number.
define internal i64 @staff(ptr %state, i64 %workers) {
  %busy.at = call ptr @field(ptr %state, i64 $BUSY)
  %pair = cmpxchg ptr %busy.at, i64 0, i64 1 acquire monotonic, align 8
  %locked = extractvalue { i64, i1 } %pair, 1
  br i1 %locked, label %change, label %later
change:
  %limit.at = call ptr @field(ptr %state, i64 $LIMIT)
  %workers.at = call ptr @field(ptr %state, i64 $WORKERS)
  %stride.at = call ptr @field(ptr %state, i64 $SCRATCH_STRIDE)
  %bell.at = call ptr @field(ptr %state, i64 $BELL)
  store i64 0, ptr %stride.at
  store atomic i64 %workers, ptr %workers.at monotonic, align 8
  store atomic i64 %workers, ptr %limit.at seq_cst, align 8
  ; A job of no chunks, so that nobody sleeps through the news.
  %old = load atomic i64, ptr %bell.at monotonic, align 8
  %old.chunks = and i64 %old, 65535
  %old.job = sub i64 %old, %old.chunks
  %bell = add i64 %old.job, $JOB
  %replaced = atomicrmw xchg ptr %bell.at, i64 %bell seq_cst
  call void @wake(ptr %bell.at)
  store atomic i64 0, ptr %busy.at release, align 8
  ret i64 1
later:
  ret i64 0
}

; The module's only visible function: where the others are.
define void @$name(ptr %entries) {
  store ptr @run, ptr %entries
  %second = getelementptr ptr, ptr %entries, i64 1
  store ptr @worker, ptr %second
  %third = getelementptr ptr, ptr %entries, i64 2
  store ptr @staff, ptr %third
  ret void
}
""")

_FUTEX_WAIT_PRIVATE, _FUTEX_WAKE_PRIVATE = 128, 129
_FUTEX_SYSCALL = {"x86_64": 202, "amd64": 202, "aarch64": 98, "arm64": 98}
_RELAX = {"x86_64": "void @llvm.x86.sse2.pause()", "amd64": "void @llvm.x86.sse2.pause()"}
_ARM_RELAX = "void @llvm.aarch64.hint(i32 1)"


def source(name: str) -> str:
    """The runner's IR for this system, with ``name`` as the name of its visible function."""
    machine = platform.machine().lower()
    relax = _RELAX.get(machine, _ARM_RELAX)
    declarations = [f"declare {relax.replace('i32 1', 'i32')}"]
    if sys.platform == "linux":
        declarations.append("declare i64 @syscall(i64, ...)")
        call = f"call i64 (i64, ...) @syscall(i64 {_FUTEX_SYSCALL[machine]}, ptr %word,"
        sleep = f"  %result = {call} i32 {_FUTEX_WAIT_PRIVATE}, i32 %value, ptr null, ptr null, i32 0)"
        wake = f"  %result = {call} i32 {_FUTEX_WAKE_PRIVATE}, i32 {MAX_THREADS}, ptr null, ptr null, i32 0)"
    else:  # no futex: nap, and nobody needs to be woken
        declarations.append("declare i32 @usleep(i32)")
        sleep, wake = "  %result = call i32 @usleep(i32 50)", ""
    return _IR.substitute(
        {key: value for key, value in globals().items() if key.isupper() and isinstance(value, int)},
        name=name,
        declarations="\n".join(declarations),
        sleep=sleep,
        wake=wake,
        relax=f"call {relax}",
        clock=6 if sys.platform == "darwin" else 1,  # CLOCK_MONOTONIC
        JOB=_JOB,
        spin=_SPIN_NANOSECONDS,
        hot=_HOT_NANOSECONDS,
    )


@lru_cache(maxsize=1)
def kernel() -> tuple[str, str]:
    """The runner's name and IR."""
    name = f"pool_{hashlib.sha256(source('pool').encode()).hexdigest()[:16]}"
    return name, source(name)


def entry_points() -> tuple[int, int, int]:
    """The addresses of ``run``, ``worker`` and ``staff``."""
    name, text = kernel()
    address = compile_kernels({name: text})[name]
    entries = (ctypes.c_int64 * 3)()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(entries))
    return tuple(entries)
