/* How lives end. */

inline drain_mailbox(x) {
  do
  :: nempty(user[x]) -> user[x]?_, _, _
  :: nempty(system[x]) -> system[x]?_
  :: empty(user[x]) && empty(system[x]) -> break
  od;
  room[x] = 0;
  room_epoch[x] = 0
}

/* ending._settle: each ask that this life owes an answer ends, and the mailbox is emptied. */
inline settle(x, how) {
#ifndef NO_MONITOR
  if
  :: ask[x] == OPEN -> end_ask(x, how)
  :: else
  fi;
#endif
  drain_mailbox(x)
}

inline announce(x) {
#ifdef NO_DOWN
  skip
#else
  unheard[x]--
#endif
}

/* The lifecycle of a life that has ended is read by nobody but wait_epoch. */
inline forget_state(x) {
#ifndef WATCH
  state[x] = SHUTDOWN;
  last[x] = 0
#else
  skip
#endif
}

/* ending.finalise, for good. */
inline end_for_good(x) {
  assert(CHILDREN_GONE(x));  /* one tree: a child ends before its parent */
  assert(!GONE(x));
  unheard[x]++;
  phase[x] = ENDED;
  task[x] = false;
  scope[x] = 0;
  finishing[x] = false;
  failing[x] = false;
  exits[x] = 0;
  member[x] = false;
  hurry[x] = false;
  forget_state(x);
  if
  :: spawner[x] == WAITED -> spawner[x] = NOT_STARTED
  :: else
  fi;
#ifdef TWO_STEP_CLOSE
  if
  :: settled[x]
  :: else -> settle(x, DOWN_FINAL)
  fi;
#else
  settle(x, DOWN_FINAL);
#endif
  closed[x] = true;
  announce(x);
  assert(unheard[x] == 0)  /* one Down for each end; and one more when a promised restart is called off */
}

inline end_and_restart(x) {
  assert(CHILDREN_GONE(x));
  unheard[x]++;
#ifndef NO_INTENSITY
  exits[x]++;
#endif
  phase[x] = RESTARTING;
  task[x] = false;
  scope[x] = 0;
  finishing[x] = false;
  failing[x] = false;
  forget_state(x);
  settle(x, DOWN_RESTARTING);
  announce(x);
  assert(unheard[x] == 0)
}

/* ending._decide */
#ifdef RESTART_IN_SHUTDOWN
#define RESTARTS_NOW(x) (spawner[x] != WAITED)
#define BY_ITSELF(x) true
#else
#define BY_ITSELF(x) (!stopping[x])
#define RESTARTS_NOW(x) (spawner[x] != WAITED && !stopping[x] && phase[PARENT(x)] != STOPPING && open)
#endif
#ifdef NO_INTENSITY
#define ALLOWED(x) true
#else
#define ALLOWED(x) MAY_RESTART(exits[x])
#endif

inline finalise(x, failed) {
  if
  :: failed && x != ROOT && RESTARTS_NOW(x) && ALLOWED(x) -> end_and_restart(x)
  :: else ->
#ifdef ESCALATE
     if
     :: failed && x != ROOT && spawner[x] != WAITED && (phase[PARENT(x)] == STARTING || phase[PARENT(x)] == LIVE) ->
        failing[PARENT(x)] = true
     :: else
     fi;
#endif
     end_for_good(x)
  fi
}

/* ending._abandon_children */
inline end_below(x) {
  k = CELLS;
  do
  :: k > 0 ->
     k--;
     if
     :: BELOW(k, x) && !GONE(k) -> stopping[k] = true; end_for_good(k)
     :: else
     fi
  :: else -> break
  od
}

inline abandon_below(x) {
  d_step {
    end_below(x);
    k = 0
  }
}

/* ending.abandon: at once, with all below. */
inline abandon(x) {
  d_step {
    if
    :: GONE(x) || phase[x] == RESTARTING
    :: else ->
       end_below(x);
       finalise(x, BY_ITSELF(x))
    fi;
    k = 0
  }
}

/* ending.begin_stop */
inline begin_stop(x) {
  if
  :: GONE(x) || stopping[x]
  :: else ->
     closed[x] = true;
     room[x] = 0;
     room_epoch[x] = 0;
     stopping[x] = true;
     if
     :: phase[x] == RESTARTING -> end_for_good(x)
     :: else -> phase[x] = STOPPING
     fi
  fi
}
