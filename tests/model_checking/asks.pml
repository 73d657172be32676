/* How asks begin and end. */

inline end_ask(x, how) {
  ask[x] = how;
  place[x] = 0
}

inline begin_ask(x, what, of_epoch) {
#ifdef STRAYS
  ask_no[x]++;
  ask_life[x] = 0;
#endif
  if
  :: !open -> ask[x] = REFUSED
  :: open && (GONE(x) || closed[x]) -> ask[x] = DOWN_FINAL
  :: open && !GONE(x) && !closed[x] ->
     ask[x] = OPEN;
     if
     :: HAS_ROOM(x) || RESERVED(what) -> user[x]!what, of_epoch, true; place[x] = IN_MAILBOX
     :: else -> room[x] = what; room_epoch[x] = of_epoch; place[x] = IN_ROOM
     fi
  fi
}

inline begin_asks(what) {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) && todo[k] -> begin_ask(k, what, epoch)
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

/* Delivery.answer: it must be for the ask that is open, and by the life that took it up. Of what runs in a
   cell itself both are known by where the request is; what was left behind has nothing but the numbers. */
inline answer(x, how) {
  if
  :: ask[x] == OPEN && place[x] == IN_HAND -> end_ask(x, how)
  :: else
  fi
}

#ifdef STRAYS
inline answer_late(x, no, by_life, how) {
  if
#if defined(LATE_REPLY)
  :: ask[x] == OPEN ->
#elif defined(NUMBER_UNCHECKED)
  :: ask[x] == OPEN && ask_life[x] == by_life ->
#elif defined(LIFE_UNCHECKED)
  :: ask[x] == OPEN && ask_no[x] == no ->
#else
  :: ask[x] == OPEN && ask_no[x] == no && ask_life[x] == by_life ->
#endif
     assert(ask_no[x] == no && life[x] == by_life);
     end_ask(x, how)
  :: else
  fi
}
#endif

/* Give up what id asks of its children: who works on it notices that nobody waits. */
inline leave_asks() {
  d_step {
    k = 0;
    do
    :: k < CELLS ->
       if
       :: IS_CHILD(k, id) -> end_ask(k, NONE); todo[k] = false
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}
