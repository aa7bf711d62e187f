"""procs_limit=0: threads of this process, and objects that go nowhere."""

import functools
import gc
import itertools
import os
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress

import pytest
from markers import time_limit
from support import Gate, drain, identity, leaves_nothing, run_script, thread_names, wait_until

import fast_map as package

fast_map = functools.partial(package.fast_map, procs_limit=0)

KINDS = pytest.mark.parametrize("kind", [list, tuple, iter], ids=["list", "tuple", "iterator"])


class Thing:
    """Neither picklable nor comparable; can be referred to weakly."""

    def __reduce__(self):
        raise TypeError("never to be pickled")


def things(number):
    """Things, and weak references to them."""
    made = [Thing() for _ in range(number)]
    return made, [weakref.ref(thing) for thing in made]


def are_gone(references):
    return wait_until(lambda: not any(reference() for reference in references))


def map_threads():
    return sorted(name for name in thread_names() if name.startswith("fast_map-t"))


@pytest.fixture(autouse=True)
def no_thread_left_behind():
    yield
    assert wait_until(lambda: not map_threads())
    assert not [thread for thread in threading.enumerate() if "fast_map" in thread.name]


# Objects


@KINDS
def test_results_and_items_are_the_objects_themselves(kind):
    given, _ = things(1000)
    taken = list(fast_map(identity, kind(given)))
    assert all(one is other for one, other in zip(taken, given, strict=True))


def test_several_iterables_give_the_objects_themselves():
    given, _ = things(3)
    assert list(fast_map(lambda *both: both, given, iter(given))) == [(it, it) for it in given]


def test_what_cannot_be_pickled_is_an_item_like_any_other():
    unpicklable = [threading.Lock(), lambda: 1, (n for n in "ab"), sys._getframe(), Thing]
    assert list(fast_map(lambda thing: [thing], iter(unpicklable))) == [[it] for it in unpicklable]


@pytest.mark.parametrize("value", [None, 0, False, "", [], ()], ids=repr)
def test_empty_values_are_results(value):
    assert list(fast_map(identity, iter([value] * 3))) == [value] * 3


def test_a_list_is_read_as_it_was_at_the_call():
    given, gate = list(range(50)), Gate()
    it = fast_map(gate.hold, given, threads_limit=2)
    given[10:] = ["changed"]
    gate.open()
    assert list(it) == list(range(50))


@KINDS
def test_nothing_is_kept_when_all_has_been_taken(kind):
    made, references = things(500)
    source = kind(made)
    del made
    for taken in fast_map(identity, source):
        assert isinstance(taken, Thing)
    del taken, source
    assert are_gone(references)


def test_an_argument_is_released_when_its_call_has_returned():
    """The caller has asked for no result yet."""
    made, references = things(20)
    it = fast_map(lambda thing: None, (made.pop() for _ in range(20)))
    assert are_gone(references)
    assert list(it) == [None] * 20


@KINDS
@pytest.mark.parametrize("end", ["close", "drop", "error", "throw"])
def test_nothing_is_kept_of_what_was_not_taken(kind, end):
    made, references = things(500)
    results = [Thing() for _ in made]
    references += [weakref.ref(result) for result in results]
    error = KeyError("stop")

    def swap(thing, index):
        if end == "error" and index == 7:
            raise error
        return results[index]

    it = fast_map(swap, kind(made), itertools.count(), threads_limit=4, buffersize=50)
    del made
    assert next(it) is results[0]
    if end == "close":
        it.close()
    elif end == "drop":
        del it
    elif end == "throw":
        with pytest.raises(KeyError):
            it.throw(error)
    else:
        assert drain(it)[1] is error
    error.__traceback__ = None
    results.clear()
    assert are_gone(references)


def test_reference_counts_are_as_before():
    thing = Thing()

    def counts():
        return sys.getrefcount(thing), sys.getrefcount(identity)

    before, before_of_none = counts(), sys.getrefcount(None)
    for _ in range(3):
        list(fast_map(identity, [thing] * 2000))
        list(fast_map(identity, itertools.repeat(thing, 2000)))
        it = fast_map(identity, itertools.repeat(thing))
        next(it)
        it.close()
    assert wait_until(lambda: counts() == before)  # threads are not waited for for long
    # None comes and goes elsewhere too, and is immortal from 3.12 on.
    assert abs(sys.getrefcount(None) - before_of_none) < 1000


class Holder:
    """What fn, an item or a result may be, and holds the map."""

    held = None

    def __call__(self, value):
        return value


@pytest.mark.parametrize("through", ["fn", "a result"])
def test_a_cycle_through_the_map_is_collected(through):
    """Its threads wait for room; nobody but the garbage collector can end them."""
    holder = Holder()
    gone = weakref.ref(holder)
    with leaves_nothing():
        if through == "fn":
            it = fast_map(holder, itertools.count(), buffersize=5)
        else:
            it = fast_map(identity, [holder] * 10, buffersize=5)
        next(it)
        holder.held = it
        del it, holder
        assert wait_until(lambda: gc.collect() >= 0 and gone() is None)


def test_a_cycle_through_an_item_is_collected():
    """It waits in the ring behind one that runs."""
    gate, box = Gate(), [Holder(), None]
    gone = weakref.ref(box[0])
    with leaves_nothing():
        it = fast_map(gate.hold, (box.pop() for _ in range(2)), threads_limit=1)
        assert wait_until(lambda: not box)
        gone().held = it
        del it
        assert wait_until(lambda: gc.collect() >= 0 and gone() is None)
        gate.open()


# Errors


def fail_at(number, error):
    def fail(index):
        if index == number:
            raise error
        return index

    return fail


@KINDS
@pytest.mark.parametrize(
    "error", [ValueError("three"), SystemExit(3), KeyboardInterrupt(), Exception()], ids=repr
)
def test_an_exception_is_the_one_that_fn_raised(kind, error):
    results, caught = drain(fast_map(fail_at(3, error), kind(range(10))))
    assert results == [0, 1, 2]
    assert caught is error
    assert caught.seq_index == 3
    assert caught.__cause__ is None
    assert "item 3" in caught.__notes__[-1]


def test_an_exception_has_its_own_traceback_and_cause():
    cause, thing = LookupError("why"), Thing()

    def fail(item):
        local = item
        raise ValueError(local) from cause

    with pytest.raises(ValueError, match="Thing") as caught:
        list(fast_map(fail, [thing]))
    assert caught.value.__cause__ is cause
    frame = caught.tb.tb_next.tb_frame
    assert (frame.f_code, frame.f_locals["local"]) == (fail.__code__, thing)


def test_stop_iteration_does_not_end_the_loop():
    error = StopIteration("early")
    results, caught = drain(fast_map(fail_at(2, error), range(5)))
    assert (results, type(caught)) == ([0, 1], RuntimeError)
    assert caught.__cause__ is error


@KINDS
def test_return_exceptions_gives_the_exception_in_its_place(kind):
    error = ValueError("unpicklable", Thing())
    results = list(fast_map(fail_at(2, error), kind(range(5)), return_exceptions=True))
    assert results == [0, 1, error, 3, 4]


def test_an_error_of_the_input_comes_after_the_items_before_it():
    error = ValueError(Thing())

    def source():
        yield from range(5)
        raise error

    results, caught = drain(fast_map(identity, source()))
    assert (results, caught) == (list(range(5)), error)


def test_recursion_without_end_is_an_error_of_its_item():
    def dive(depth):
        return dive(depth + 1)

    def nest():
        nested = []
        for _ in range(100_000):
            nested = [nested]
        return repr(nested)

    for fn in (dive, lambda _: nest()):
        results, caught = drain(fast_map(fn, range(2)))
        assert (results, type(caught)) == ([], RecursionError)


# Threads


def test_fn_runs_in_named_threads_of_this_process():
    gate = Gate()
    seen = set()

    def look(index):
        seen.add((os.getpid(), threading.current_thread().name))
        gate.hold()

    it = fast_map(look, range(3))
    assert wait_until(lambda: len(seen) == 3)
    assert map_threads() == [f"fast_map-t{number}" for number in range(3)]
    gate.open()
    list(it)
    assert seen == {(os.getpid(), f"fast_map-thread-{number}") for number in range(3)}


def test_a_thread_keeps_its_thread_local_state():
    local = threading.local()

    def count(index):
        local.count = getattr(local, "count", 0) + 1
        return threading.get_ident(), local.count

    highest = dict(fast_map(count, range(300), threads_limit=4))
    assert sum(highest.values()) == 300


def test_what_belongs_to_the_process_is_left_alone():
    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        stdin = os.fstat(0)
        return handlers, sys.getswitchinterval(), gc.get_freeze_count(), stdin.st_ino, sys.stdin

    before = state()
    gate = Gate()
    it = fast_map(lambda index: gate.hold(state()), range(100))
    assert wait_until(lambda: len(map_threads()) == 100)
    gate.open()
    assert all(seen == before for seen in it)
    assert state() == before


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_threads_limit_holds(limit):
    lock, here = threading.Lock(), [0, 0]

    def meet(index):
        with lock:
            here[0] += 1
            here[1] = max(here)
        time.sleep(0.005)
        with lock:
            here[0] -= 1

    list(fast_map(meet, range(5 * limit), threads_limit=limit))
    assert here[1] <= limit


def test_two_hundred_half_seconds_pass_together():
    start = time.monotonic()
    list(fast_map(time.sleep, [0.5] * 200))
    assert time.monotonic() - start < 2.5


@time_limit(120)
@KINDS
def test_a_thousand_blocking_items_run_at_once(kind):
    barrier = threading.Barrier(1000)
    assert sorted(fast_map(lambda _: barrier.wait(), kind(range(1000)))) == list(range(1000))


@time_limit(120)
def test_blocking_items_run_at_once_while_the_caller_computes():
    """The caller's CPU time is the process's too, and must not pass for that of fn."""
    gate, present = Gate(), itertools.count(1)
    it = fast_map(lambda _: gate.hold(next(present)), range(100))
    deadline = time.monotonic() + 30
    while len(map_threads()) < 100:
        assert time.monotonic() < deadline
        sum(range(300_000))
    gate.open()
    assert sorted(it) == list(range(1, 101))


@time_limit(120)
@pytest.mark.parametrize("caller", ["waits", "computes"])
def test_computing_items_get_few_threads(caller):
    def compute(index):
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return threading.get_ident()

    def count_threads():
        threads, start, cpu = set(), time.monotonic(), time.process_time()
        for ident in fast_map(compute, range(100)):
            threads.add(ident)
            if caller == "computes":
                compute(0)
        share = (time.process_time() - cpu) / (time.monotonic() - start)
        return len(threads), share

    # Where other processes have the CPU, threads look blocked: a run counts if we had it ourselves.
    counts = []
    while not counts or (counts[-1][0] > 32 and len(counts) < 4):
        counts.append(count_threads())
    is_busy = all(share < 0.8 for _, share in counts)
    assert counts[-1][0] <= 32 or is_busy, counts


def test_fn_that_is_no_python_code_lets_others_run():
    """No byte code is run between its items, at which a thread would give up the GIL."""
    start = time.monotonic()
    it = fast_map(sum, [range(300_000)] * 300, threads_limit=1)
    for _ in range(5):
        time.sleep(0.001)
    others = time.monotonic() - start
    next(it)
    first = time.monotonic() - start
    list(it)
    assert first < (time.monotonic() - start) / 2
    assert others < (time.monotonic() - start) / 2


# The end


def test_hundreds_of_maps_leave_nothing():
    def run(number):
        it = fast_map(identity, itertools.count() if number % 2 else range(100))
        assert [next(it) for _ in range(50)] == list(range(50))
        if number % 3 == 0:
            it.close()

    with leaves_nothing():
        for number in range(300):
            run(number)
        gc.collect()


@pytest.mark.parametrize("end", ["close", "drop", "exception"])
def test_the_end_does_not_wait_for_threads_in_fn(end):
    gate = Gate()
    begun = []

    def fn(thing):
        begun.append(1)
        return gate.hold(thing)

    function_gone = weakref.ref(fn)
    made, references = things(5)
    with leaves_nothing():
        it = fast_map(fn, iter(made), threads_limit=3)
        del made, fn
        assert wait_until(lambda: len(begun) == 3 and "fm-feeder" not in thread_names())
        if end == "close":
            it.close()
        elif end == "drop":
            del it
        else:
            with pytest.raises(KeyError):
                it.throw(KeyError)
        # They are still in fn, which they keep, and what they have not begun is gone.
        assert len(map_threads()) == 3
        assert function_gone() is not None
        assert sum(reference() is not None for reference in references) == 3
        gate.open()
    assert are_gone([function_gone, *references])


def test_fn_may_close_its_own_map():
    box = []
    ready, closed = threading.Event(), threading.Event()

    def close(index):
        ready.wait()
        box[0].close()
        closed.set()

    with leaves_nothing():
        box.append(fast_map(close, range(3), threads_limit=1))
        ready.set()
        assert closed.wait(10)
        assert list(box[0]) == []
        box.clear()


def test_timeouts_lose_nothing():
    gate = Gate()
    it = fast_map(gate.hold, range(2))
    with pytest.raises(TimeoutError):
        it.next(timeout=0.01)
    gate.open()
    assert list(it) == [0, 1]


@time_limit(120)
def test_a_pipeline_ends_with_its_last_stage():
    with leaves_nothing():
        first = fast_map(identity, itertools.count())
        second = package.fast_map(identity, first, procs_limit=1)
        third = fast_map(identity, second)
        del first, second
        assert [next(third) for _ in range(100)] == list(range(100))
        del third


def test_maps_inside_a_map():
    def inner(number):
        return sum(fast_map(identity, range(number)))

    assert list(fast_map(inner, range(30))) == [sum(range(number)) for number in range(30)]


def test_several_threads_use_maps_at_once():
    def use(number):
        assert list(fast_map(identity, range(number))) == list(range(number))

    errors = []
    threads = [
        threading.Thread(target=lambda: errors.append(drain(map(use, range(40)))[1]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [None] * 4


def test_an_interrupt_reaches_the_caller():
    gate, it = Gate(), None

    def caller_waits():
        with suppress(TimeoutError):
            it.next(timeout=0)
        return False

    def interrupt(index):
        if index == 0:
            with pytest.raises(ValueError, match="already executing"):
                wait_until(caller_waits)
            os.kill(os.getpid(), signal.SIGINT)
        gate.hold()

    with leaves_nothing():
        it = fast_map(interrupt, range(2))
        with pytest.raises(KeyboardInterrupt):
            next(it)
        gate.open()
        assert list(it) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("act", ["looks", "closes", "drops"])
def test_a_fork_of_the_caller_has_no_part_in_the_map(act):
    made, _ = things(100)
    it = fast_map(identity, iter(made), buffersize=20)
    assert next(it) is made[0]
    child = os.fork()
    if not child:
        status = 1
        if act == "looks":
            status = 0 if isinstance(drain(it)[1], RuntimeError) else 1
        else:
            it = it.close() if act == "closes" else None
            gc.collect()
            # It can have maps of its own.
            status = 0 if list(fast_map(identity, range(9))) == list(range(9)) else 1
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert all(one is other for one, other in zip(it, made[1:], strict=True))


def test_a_fork_inside_fn_has_no_part_in_the_map():
    """Also where the child returns from fn: it ends, as with any thread, and touches nothing."""
    out = run_script("fork_inside_fn.py")
    assert out[:2] == (0, "ends 0\ncomplete True\n")


def test_the_process_ends_although_threads_are_just_starting():
    status, out, err = run_script("exit_while_starting_threads.py")
    assert (status, out, err) == (0, "True\n", "")


@pytest.mark.parametrize(
    "state", ["sleeping", "computing", "waiting for its input", "waiting for its consumer", "many"]
)
@pytest.mark.parametrize("how", ["end of script", "sys.exit", "daemon thread"])
def test_the_process_ends_although_threads_are_in_fn(state, how):
    status, out, err = run_script("exit_in_fn.py", state, how)
    assert (status, out, err) == (5 if how == "sys.exit" else 0, "ready\n", "")


# Options


@pytest.mark.parametrize(
    ("name", "value"), [("task_timeout", 1), ("start_method", "forkserver")], ids=str
)
def test_options_that_need_processes_are_refused(name, value):
    with leaves_nothing(timeout=0), pytest.raises(ValueError, match="procs_limit") as caught:
        fast_map(identity, [1], **{name: value})
    assert name in str(caught.value)
    assert "at least 1" in str(caught.value)


def test_options_without_meaning_are_accepted():
    given, _ = things(3)
    options = {"retries": 2, "buffer_bytes": 1, "start_method": "fork", "task_timeout": None}
    assert list(fast_map(identity, iter(given), **options)) == given


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="procs_limit must be from 0"):
        package.fast_map(identity, [1], procs_limit=-1)


def test_a_list_is_read_to_its_end_without_an_order():
    """Also long after the thread that hands out its indexes has ended."""

    def nap(value):
        time.sleep(0.02)
        return value

    given, _ = things(30)
    results = list(fast_map(nap, given, ordered=False, threads_limit=3))
    assert sorted(map(id, results)) == sorted(map(id, given))
