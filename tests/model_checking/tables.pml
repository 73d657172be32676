/* Made by tests/model_checking/tables.py out of actors/lifecycle.py and actors/supervision.py, and compared
   with them by a test. Do not edit. */

mtype = { IDLE, RUNNING, EPOCH_DONE, SHUTDOWN, BEGIN, FINISH, FAIL, REST, STOP };

inline advance(state, last, event, given) {
  if
  :: state == IDLE && event == BEGIN && given > last -> state = RUNNING; last = given
  :: state == IDLE && event == STOP -> state = SHUTDOWN
  :: state == RUNNING && event == FINISH && given == last -> state = EPOCH_DONE
  :: state == RUNNING && event == FAIL && given == last -> state = EPOCH_DONE
  :: state == RUNNING && event == STOP -> state = SHUTDOWN
  :: state == EPOCH_DONE && event == BEGIN && given > last -> state = RUNNING; last = given
  :: state == EPOCH_DONE && event == REST -> state = IDLE
  :: state == EPOCH_DONE && event == STOP -> state = SHUTDOWN
  :: state == SHUTDOWN && event == STOP -> state = SHUTDOWN
  :: else -> assert(false) /* a move that the table of states does not have */
  fi
}

#define OVER(state, last, given) ( \
  (state) == IDLE && (given) < (last) || \
  (state) == IDLE && (given) == (last) || \
  (state) == RUNNING && (given) < (last) || \
  (state) == EPOCH_DONE && (given) < (last) || \
  (state) == EPOCH_DONE && (given) == (last) || \
  (state) == SHUTDOWN && (given) < (last) || \
  (state) == SHUTDOWN && (given) == (last))

#if RESTARTS == 0
#define MAY_RESTART(exits) (false)
#elif RESTARTS == 1
#define MAY_RESTART(exits) ((exits) == 0)
#elif RESTARTS == 2
#define MAY_RESTART(exits) ((exits) == 0 || (exits) == 1)
#elif RESTARTS == 3
#define MAY_RESTART(exits) ((exits) == 0 || (exits) == 1 || (exits) == 2)
#endif
