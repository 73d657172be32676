/* Epochs: a parent, and what it asks of its children. */

inline move(event, of_epoch) {
  advance(state[id], last[id], event, of_epoch);
#ifdef WATCH
  if
  :: id == WATCHED && state[id] == EPOCH_DONE -> over_level = last[id]
  :: else
  fi;
#endif
#ifdef PULSE
  if
  :: id == ROOT && state[id] == EPOCH_DONE -> moved = true
  :: else
  fi;
#endif
  skip
}

inline open_scope() {
  move(BEGIN, epoch);
  d_step {
    scope[id] = epoch;
    finishing[id] = false;
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) -> member[k] = !GONE(k); todo[k] = !GONE(k)
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

inline all_members_todo() {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) -> todo[k] = member[k]
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

inline no_more_todo() {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) -> todo[k] = false
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

inline close_scope() {
  d_step {
    scope[id] = 0;
    finishing[id] = false;
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) -> member[k] = false; todo[k] = false
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

/* epochs._abort_children */
inline abort_scope() {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) && scope[id] != 0 && member[k] && !GONE(k) ->
#ifdef ONE_LANE
          if
          :: HAS_ROOM(k) -> user[k]!TO_ABORT, scope[id], false
          :: else -> skip
          fi
#else
          assert(nfull(system[k]));
          system[k]!scope[id]
#endif
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
  close_scope()
}

/* Each member that is alive has ended this epoch; one that is between two lives joins no epoch that is over. */
#define OVER_IN(c, of_epoch) (!IS_CHILD(c, id) || !member[c] || GONE(c) || phase[c] == RESTARTING \
  || phase[c] == STARTING || state[c] == SHUTDOWN || OVER(state[c], last[c], of_epoch))
#if CELLS == 2
#define MEMBERS_OVER(e) OVER_IN(1, e)
#elif CELLS == 3
#define MEMBERS_OVER(e) (OVER_IN(1, e) && OVER_IN(2, e))
#elif CELLS == 4
#define MEMBERS_OVER(e) (OVER_IN(1, e) && OVER_IN(2, e) && OVER_IN(3, e))
#endif

/* What the asks of one step came to. bad: one has failed; again: one was asked of a life that ended. */
inline gather(what) {
  d_step {
    bad = false;
    again = false;
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) && todo[k] ->
          if
          :: ask[k] == ANSWERED || ask[k] == DOWN_FINAL -> todo[k] = false
          :: ask[k] == DOWN_RESTARTING -> again = true; todo[k] = (what == TO_FINISH)
          :: else -> bad = true; todo[k] = false
          fi;
          ask[k] = NONE
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

#define PENDING(c) (IS_CHILD(c, id) && todo[c] && ask[c] == OPEN)
#if CELLS == 2
#define WAITS (PENDING(1))
#elif CELLS == 3
#define WAITS (PENDING(1) || PENDING(2))
#elif CELLS == 4
#define WAITS (PENDING(1) || PENDING(2) || PENDING(3))
#endif

/* One expired: they have the same deadline, so all have. */
inline expire_asks() {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: PENDING(k) -> end_ask(k, EXPIRED)
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}
