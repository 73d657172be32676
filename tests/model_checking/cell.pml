/* One running actor, over all its lives. */

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
