/* Epochs, restarts and shutdown of the actor runtime, as actors/ implements them.

   docs/model.md says which part of the code each name stands for, and what is left out.

   A process is a task of the event loop. What the code does between two awaits is one atomic step here, and a
   label is an await. Cells are numbered so that a parent comes before its children, and of two children the
   one that was started later has the higher number: counting down is the reverse order of start.

   Two surroundings. PATIENT: no deadline ever passes and nothing is stuck, but everything may fail; each wait
   must be ended by its witness. Otherwise any deadline may pass at any moment, as early or as late as it
   likes, and handlers and jobs may be stuck for ever. */

#ifndef CELLS
#define CELLS 3
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef WATCHED
#define WATCHED 1
#endif
#define CAPACITY 1
#define PLACES (CAPACITY + 2 * EPOCHS) /* with those that are reserved for BeginEpoch and FinishEpoch */
#define HAS_ROOM(c) (len(user[c]) < CAPACITY)
#define RESERVED(what) (what == TO_BEGIN || what == TO_FINISH)
#define ROOT 0

#include "tables.pml"

mtype = { STARTING, LIVE, RESTARTING, STOPPING, ENDED };                     /* phases */
mtype = { NONE, OPEN, ANSWERED, FAILED, DOWN_RESTARTING, DOWN_FINAL, EXPIRED, REFUSED };  /* ends of asks */
mtype = { TO_RUN, TO_BEGIN, TO_WORK, TO_FINISH, TO_NOTE, TO_HELP, TO_JOIN, TO_ABORT };  /* what a cell is at */
mtype = { IN_ROOM, IN_MAILBOX, IN_HAND };                                    /* where a request is */
mtype = { NOBODY, WAITED, STARTED, NOT_STARTED };                            /* whoever spawns */

#ifdef CHAIN
/* Each is the child of the one before. */
#define PARENT(c) ((c) - 1)
#define IS_CHILD(c, p) ((c) == (p) + 1)
#define BELOW(c, p) ((c) > (p))
#define CHILDREN_GONE(p) ((p) == CELLS - 1 || GONE((p) + 1))
#define LEAF(p) ((p) == CELLS - 1)
#else
/* All are children of the first. */
#define PARENT(c) ROOT
#define IS_CHILD(c, p) ((p) == ROOT && (c) > ROOT)
#define BELOW(c, p) IS_CHILD(c, p)
#if CELLS == 2
#define CHILDREN_GONE(p) ((p) > ROOT || GONE(1))
#elif CELLS == 3
#define CHILDREN_GONE(p) ((p) > ROOT || (GONE(1) && GONE(2)))
#elif CELLS == 4
#define CHILDREN_GONE(p) ((p) > ROOT || (GONE(1) && GONE(2) && GONE(3)))
#endif
#define LEAF(p) ((p) != ROOT)
#endif

#ifdef PATIENT
#define HOSTILE false
#define DEADLINE false
#else
#define HOSTILE true
#ifdef NO_DEADLINE
#define DEADLINE false
#else
#define DEADLINE true
#endif
#endif

/* A jump out of an atomic step into another one would go on at once: at an await the others have their turn. */
#define YIELD skip

#define GONE(c) (phase[c] == ENDED)
#define FAULT (faults > 0)
#ifdef UNLIMITED_FAULTS
#define SPEND_FAULT skip
#else
#define SPEND_FAULT faults--
#endif

mtype phase[CELLS], state[CELLS];
byte last[CELLS];                             /* the last epoch that was begun */
byte scope[CELLS];                            /* the epoch that a cell has under way with its children, or 0 */
bool finishing[CELLS], member[CELLS], todo[CELLS];
byte exits[CELLS], unheard[CELLS];
bool task[CELLS], stopping[CELLS], hurry[CELLS], closed[CELLS], failing[CELLS];
mtype spawner[CELLS];
mtype ask[CELLS];                             /* the ask of each cell: whoever asks has one at a time to each */
mtype place[CELLS];                           /* where the request of an open ask is */
mtype room[CELLS];                            /* what waits for room in the mailbox */
byte room_epoch[CELLS];
chan user[CELLS] = [PLACES] of { mtype, byte, bool };  /* what, epoch, whether it is an ask */
chan system[CELLS] = [EPOCHS] of { byte };             /* AbortEpoch(this) */
bool open, concluded;
byte faults;
#ifdef STRAYS
byte ask_no[CELLS], ask_life[CELLS], life[CELLS];
#endif
#ifdef WATCH
byte over_level;                              /* the highest epoch that was ever over in WATCHED */
#endif
#ifdef PULSE
bool moved;
#endif
#ifdef UPWARD_ASK
bool helped[CELLS];
#endif
#ifdef TWO_STEP_CLOSE
bool settled[CELLS];
#endif

#include "asks.pml"
#include "ends.pml"
#include "epochs.pml"

/* Whatever was left behind by a life that was given up: it may do what it was at, at any later time or never. */
#ifdef STRAYS
proctype Stray(byte id; byte no; byte by_life) {
end_left_behind:
  atomic { answer_late(id, no, by_life, ANSWERED) }
}
#endif

inline leave_stray() {
#ifdef STRAYS
  if
  :: what == TO_WORK -> run Stray(id, no, my_life)
  :: else
  fi;
#endif
  skip
}

/* Why a handler that is awaiting something is cancelled. What has no asker, a hook, has its deadline alone. */
#define LEFT (asked && !(ask[id] == OPEN && place[id] == IN_HAND))
#define HURRIED (what != TO_JOIN && stopping[id] && hurry[id])
#define CANCELLED (LEFT || HURRIED || failing[id] || DEADLINE)

inline forget() {
  d_step {
    what = 0;
    step = 0;
    how = 0;
    epoch = 0;
    asked = false;
    failed = false;
    bad = false;
    again = false;
#ifdef STRAYS
    no = 0;
#endif
    k = 0
  }
}

proctype Cell(byte id) {
  mtype what, step, how;
  byte epoch, k;
  bool asked, bad, again, failed;
#ifdef STRAYS
  byte no, my_life;
#endif

not_alive:
  YIELD;
end_not_alive:
  atomic {
    if
    :: !task[id] && (phase[id] == STARTING || phase[id] == STOPPING)
    :: phase[id] == RESTARTING -> phase[id] = STARTING  /* the alarm of the pause */
    fi;
    d_step {
      /* Cell.start */
      task[id] = true;
      state[id] = IDLE;
      last[id] = 0;
      what = TO_JOIN;
      epoch = id + 1;
#ifdef STRAYS
      life[id]++;
      my_life = life[id];
#endif
    }
  }

  /* on_start: the children, one after the other. */
on_start:
  YIELD;
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && FAULT -> SPEND_FAULT; goto crashed
    :: task[id] && !(epoch < CELLS && IS_CHILD(epoch, id)) -> goto joining
    :: task[id] && epoch < CELLS && IS_CHILD(epoch, id) ->
       d_step {
         spawner[epoch] = WAITED;
         phase[epoch] = STARTING;
         stopping[epoch] = false;
         closed[epoch] = false
       }
    fi
  }
starting_child:
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && spawner[epoch] == STARTED -> spawner[epoch] = NOBODY; epoch++; goto on_start
    :: task[id] && spawner[epoch] == NOT_STARTED -> spawner[epoch] = NOBODY; goto crashed
    :: task[id] && spawner[epoch] == WAITED && (DEADLINE || failing[id]) ->  /* not started in time */
       begin_stop(epoch);
       goto giving_up
    fi
  }

  /* epochs.join_running */
  atomic {
    skip;
joining:
    epoch = 0;
    if
#ifndef NO_JOIN
    :: id != ROOT && scope[PARENT(id)] != 0 && member[id] ->
       epoch = scope[PARENT(id)];
       if
       :: finishing[PARENT(id)] -> move(BEGIN, epoch); move(FINISH, epoch)
       :: else ->
          open_scope();
          if
          :: !LEAF(id) -> step = TO_BEGIN; begin_asks(TO_BEGIN); goto awaiting
          :: else
          fi
       fi
#endif
    :: else
    fi;
joined:
    skip;
    d_step {
      if
      :: phase[id] == STARTING -> phase[id] = LIVE
      :: else
      fi;
      if
      :: spawner[id] == WAITED -> spawner[id] = STARTED
      :: else
      fi
    };
    forget()
  }

  /* Cell._serve */
serving:
  YIELD;
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && failing[id] -> goto crashed
    :: task[id] && !failing[id] && phase[id] == STOPPING && hurry[id] -> goto stopped
    :: task[id] && !failing[id] && phase[id] == STOPPING && !hurry[id] && empty(system[id]) && empty(user[id]) ->
       goto stopped
    :: task[id] && !failing[id] && FAULT -> SPEND_FAULT; goto crashed  /* its task is cancelled by whoever */
    :: task[id] && !failing[id] && !hurry[id] && nempty(system[id]) ->
       system[id]?epoch;
       goto aborted
    :: task[id] && !failing[id] && !hurry[id] && empty(system[id]) && nempty(user[id]) ->
       user[id]?what, epoch, asked;
       if
       :: asked && ask[id] == OPEN && place[id] == IN_MAILBOX && len(user[id]) == 0 ->
          place[id] = IN_HAND  /* the request of the open ask is the last in the lane; those before have expired */
       :: else
       fi;
       if
       :: room[id] != 0 && ask[id] == OPEN && place[id] == IN_ROOM && HAS_ROOM(id) ->
          user[id]!room[id], room_epoch[id], true;
          place[id] = IN_MAILBOX
       :: else
       fi;
       if
       :: ask[id] == OPEN && place[id] == IN_ROOM
       :: else -> room[id] = 0; room_epoch[id] = 0
       fi
    fi;
    if
    :: LEFT -> goto done  /* expired in the mailbox */
    :: else
    fi;
#ifdef STRAYS
    if
    :: asked -> no = ask_no[id]; ask_life[id] = my_life
    :: else
    fi;
#endif
    if
    :: what == TO_NOTE -> goto done
    :: what == TO_ABORT -> goto aborted
#ifdef UPWARD_ASK
    :: what == TO_HELP -> helped[epoch] = true; goto done
#endif
    :: what == TO_RUN ->
       open_scope();
       step = TO_BEGIN
    :: what == TO_BEGIN ->
       if
       :: state[id] == RUNNING && last[id] == epoch -> goto answering
       :: else
       fi;
       open_scope();
       step = TO_BEGIN
    :: what == TO_FINISH ->
       if
       :: state[id] == RUNNING && scope[id] != 0 ->
          finishing[id] = true;
          all_members_todo();
          step = TO_FINISH
       :: else -> goto finishing_here
       fi
    :: what == TO_WORK ->
       if
       :: state[id] != RUNNING -> answer(id, REFUSED); goto done
       :: else
       fi;
       assert(last[id] == epoch);  /* nobody works in another epoch than its parent's */
       if
       :: LEAF(id) -> goto working
       :: else
       fi;
       all_members_todo();
       step = TO_WORK
    fi;
    if
    :: LEAF(id) -> goto asks_over
    :: else
    fi;
    begin_asks(step)
  }

  /* Delivery.ask_all */
awaiting:
  YIELD;
  atomic {
    if
    :: !task[id] -> leave_stray(); goto lost
    :: task[id] && WAITS && DEADLINE -> expire_asks()
    :: task[id] && WAITS && CANCELLED -> goto cancelled
    :: task[id] && WAITS && HOSTILE && FAULT -> SPEND_FAULT; goto clinging
    :: task[id] && WAITS && FAULT -> SPEND_FAULT; goto raised
    :: task[id] && !WAITS
    fi;
    gather(step);
    if
    :: again && !bad && step == TO_FINISH -> again = false; begin_asks(TO_FINISH); goto awaiting
    :: bad && step != TO_WORK -> goto epoch_failed
    :: bad && what == TO_RUN && step == TO_WORK -> goto epoch_failed  /* the body raises EpochFailed, or ... */
    :: !(again && !bad && step == TO_FINISH) && !(bad && step != TO_WORK)  /* ... goes on without that part */
    fi;
asks_over:
    bad = false;
    again = false;
    all_members_todo();
    if
    :: what == TO_RUN && step == TO_BEGIN -> step = TO_WORK; begin_asks(TO_WORK); goto awaiting
    :: what == TO_RUN && step == TO_WORK ->
       finishing[id] = true;
       step = TO_FINISH;
       begin_asks(TO_FINISH);
       goto awaiting
    :: what == TO_JOIN -> no_more_todo(); goto joined
    :: what == TO_RUN && step == TO_FINISH ->
       assert(MEMBERS_OVER(epoch));
       close_scope();
       move(FINISH, epoch)
    :: what == TO_FINISH ->
       close_scope();
finishing_here:
       if
       :: !OVER(state[id], last[id], epoch) -> move(FINISH, epoch)
       :: else
       fi
    :: what == TO_BEGIN || what == TO_WORK -> no_more_todo()
    fi;
answering:
    answer(id, ANSWERED);
done:
    skip;
#ifdef ONE_SHOT_ROOT
    if
    :: id == ROOT && what == TO_RUN -> false  /* the thread returns, and nobody hears of it */
    :: else
    fi;
#endif
    forget();
    goto serving;

aborted:       /* told so by the parent: epochs.abort */
    if
    :: state[id] == RUNNING && last[id] == epoch -> how = TO_ABORT; goto ended_badly
    :: else -> goto done
    fi;
epoch_failed:  /* Root catches it and says so; a handler of the runtime answers with it; a hook ends the life. */
    how = FAILED;
    goto ended_badly;
cancelled:
    how = NONE;
    goto ended_badly;
raised:        /* a handler did */
    how = RESTARTING;
ended_badly:
    leave_asks();
    if
    :: what == TO_RUN || how == TO_ABORT -> abort_scope(); move(FAIL, epoch)
    :: else
    fi;
    if
    :: how == FAILED || how == RESTARTING -> answer(id, FAILED)
    :: else
    fi;
    if
    :: what == TO_JOIN || how == RESTARTING -> goto crashed
    :: else -> goto done
    fi
  }

  /* The work of a leaf: a job in a thread. */
working:
  YIELD;
  atomic {
    if
    :: !task[id] -> leave_stray(); goto lost
    :: task[id] && CANCELLED -> goto done
    :: task[id] && HOSTILE -> goto stuck
    :: task[id] && HOSTILE && FAULT -> SPEND_FAULT; goto clinging
    :: task[id] && FAULT -> SPEND_FAULT; goto raised
#if defined(UPWARD_ASK)
    :: task[id] && HAS_ROOM(PARENT(id)) -> user[PARENT(id)]!TO_HELP, id, false
#elif defined(BOUNDED_REPLY)
    :: task[id] && HAS_ROOM(PARENT(id)) -> goto answering
#else
    :: task[id] -> goto answering
#endif
    fi
  }
#ifdef UPWARD_ASK
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && helped[id] -> helped[id] = false; goto answering
    :: task[id] && CANCELLED -> goto done
    fi
  }
#endif

  /* A job that never returns: the wait for it ends by its deadline, and the thread is left behind. */
stuck:
  YIELD;
  atomic {
    if
    :: !task[id] -> leave_stray(); goto lost
    :: task[id] && CANCELLED -> goto done
    fi
  }

  /* A handler that swallows its cancellation: given up, and its task left behind. */
clinging:
  YIELD;
  atomic {
    if
    :: !task[id] -> leave_stray(); goto lost
    :: task[id] && CANCELLED -> leave_stray(); what = 0; epoch = id
    fi;
giving_up:
    abandon(epoch);
    if
    :: epoch == id -> goto lost
    :: else -> spawner[epoch] = NOBODY; goto crashed
    fi
  }

  /* on_failure or on_stop: it returns, raises or is cut short, which is all the same; or it clings. */
  atomic {
    skip;
crashed:
    failed = true;
stopped:
    what = TO_JOIN;
    step = 0;
    how = 0;
    epoch = 0;
    asked = false
  }
  YIELD;
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && HOSTILE && FAULT -> SPEND_FAULT; goto clinging
    :: task[id]
    fi;
    /* ending.terminate */
    advance(state[id], last[id], STOP, 0);
    d_step {
      k = CELLS;
      do
      :: k > 0 ->
         k--;
         if
         :: IS_CHILD(k, id) -> begin_stop(k)
         :: else
         fi
      :: else -> break
      od;
      k = 0
    };
    what = 0;
    if
    :: CHILDREN_GONE(id) -> goto children_gone
    :: else
    fi
  }
ending:
  YIELD;
  atomic {
    if
    :: !task[id] -> goto lost
    :: task[id] && CHILDREN_GONE(id)
#ifdef NO_AWAIT
    :: task[id]
#endif
    :: task[id] && DEADLINE && !CHILDREN_GONE(id) -> /* the wait for a child's end expired */
       abandon_below(id)
    fi;
children_gone:
    skip;
#ifdef TWO_STEP_CLOSE
    settle(id, DOWN_FINAL);
    settled[id] = true
  }
closing:
  atomic {
    if
    :: !task[id] -> goto lost
    :: else
    fi;
#endif
    d_step { finalise(id, failed && BY_ITSELF(id)) };
lost:
    skip;
    forget();
    goto not_alive
  }
}

/* The alarms of begin_stop: when draining has had its share, and when the budget is used up. */
#define MAY_HURRY(c) (stopping[c] && phase[c] == STOPPING && !hurry[c])
#define BUDGET_OVER(c) (stopping[c] && phase[c] == STOPPING)
#ifdef NO_BUDGET
#define ON_BUDGET(c) skip
#else
#define ON_BUDGET(c) abandon(c)
#endif

#ifndef PATIENT
active proctype Clock() {
  byte c, k;

end_clock:
  do
  :: concluded -> break
  :: atomic {
       if
       :: MAY_HURRY(0) -> hurry[0] = true
       :: MAY_HURRY(1) -> hurry[1] = true
#if CELLS > 2
       :: MAY_HURRY(2) -> hurry[2] = true
#endif
#if CELLS > 3
       :: MAY_HURRY(3) -> hurry[3] = true
#endif
       fi
     }
  :: atomic {
       if
       :: BUDGET_OVER(0) -> c = 0
       :: BUDGET_OVER(1) -> c = 1
#if CELLS > 2
       :: BUDGET_OVER(2) -> c = 2
#endif
#if CELLS > 3
       :: BUDGET_OVER(3) -> c = 3
#endif
       fi;
       ON_BUDGET(c);
       assert(GONE(c));
       c = 0
     }
  od
}
#endif

#ifdef UNLIMITED_FAULTS
/* From some moment on nothing fails any more: else a fault might always come and end what hangs. */
proctype Calm() {
  faults = 0
}
#endif

/* ActorSystem.shutdown, by somebody else: at any moment, or never. */
proctype Stopper() {
  byte k;

#ifdef TELLS
  if
  :: atomic { HAS_ROOM(ROOT) && room[ROOT] == 0 && !closed[ROOT] -> user[ROOT]!TO_NOTE, 0, false }
  :: skip
  fi;
#endif
  if
  :: atomic { !concluded -> open = false; begin_stop(ROOT) }
  :: skip
  fi
}

/* EpochWaits.add */
#ifdef CUT_SHORT_IS_OVER
#define OVER_FOR(c, of_epoch) OVER(state[c], last[c], of_epoch)
#else
#define OVER_FOR(c, of_epoch) (OVER(state[c], last[c], of_epoch) && !(state[c] == SHUTDOWN && last[c] == of_epoch))
#endif

#ifdef WATCH
/* ActorSystem.wait_epoch, at any moment, for a cell below. */
proctype Watcher(byte epoch) {
  byte seen;

  atomic {
    if
    :: GONE(WATCHED) || phase[WATCHED] == STOPPING -> goto told
    :: else
    fi;
    if
    :: over_level >= epoch -> goto told
    :: over_level < epoch && OVER_FOR(WATCHED, epoch) ->
       assert(state[WATCHED] != SHUTDOWN || last[WATCHED] > epoch);  /* cut short is not over */
       goto told
    :: else
    fi
  }
  if
  :: over_level >= epoch
  :: GONE(WATCHED)
  :: DEADLINE
  fi;
told:
  skip
}
#endif

active proctype Outside() {
  byte epoch = 1, k;

  /* ActorSystem.__aenter__ and the first spawn. */
  atomic {
    d_step {
      k = 0;
      do
      :: k < CELLS -> phase[k] = ENDED; closed[k] = true; ask[k] = NONE; k++
      :: else -> break
      od;
      k = 0;
      open = true;
      phase[ROOT] = STARTING;
      closed[ROOT] = false;
      spawner[ROOT] = WAITED
    }
    do
    :: k < CELLS -> run Cell(k); k++
    :: else -> break
    od;
    k = 0;
#ifdef UNLIMITED_FAULTS
    faults = 1;
    run Calm();
#else
    do
    :: faults < FAULTS -> faults++
    :: break
    od;
#endif
    run Stopper();
#ifdef WATCH
    run Watcher(1)
#endif
  }
  atomic {
    if
    :: spawner[ROOT] == STARTED -> spawner[ROOT] = NOBODY
    :: spawner[ROOT] == NOT_STARTED -> spawner[ROOT] = NOBODY; goto shutdown
    :: spawner[ROOT] == WAITED && DEADLINE -> begin_stop(ROOT); abandon(ROOT); spawner[ROOT] = NOBODY; goto shutdown
    fi
  }
asking:
  atomic { begin_ask(ROOT, TO_RUN, epoch) }
  atomic {
    if
    :: ask[ROOT] != OPEN
    :: ask[ROOT] == OPEN && DEADLINE
    fi;
    end_ask(ROOT, NONE);
#ifdef PULSE
    moved = false
#endif
  }
  /* ActorSystem.wait_epoch: a level, so it is never too late. */
  atomic {
    if
#ifdef PULSE
    :: moved
#else
    :: OVER_FOR(ROOT, epoch)
#endif
    :: GONE(ROOT) || phase[ROOT] == STOPPING
    :: !GONE(ROOT) && DEADLINE
    fi;
    epoch++;
    if
    :: epoch <= EPOCHS -> goto asking
    :: else -> epoch = 0
    fi
  }

shutdown:
  atomic {
    open = false;
    begin_stop(ROOT)
  }
  atomic {
    GONE(ROOT);
    d_step {
      k = 0;
      do
      :: k < CELLS ->
         assert(GONE(k) && !task[k] && ask[k] != OPEN && empty(user[k]) && empty(system[k]) && room[k] == 0);
         k++
      :: else -> break
      od;
      k = 0
    };
    concluded = true
  }
}

ltl ends { <> concluded }
