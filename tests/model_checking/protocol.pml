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
#include "cell.pml"

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
