package logs

import slotdv1 "slotd/messages/slotd/v1"

// Resume tells the log of a task that has not ended which runs it has had in earlier lives, before anything is added in
// this one. A life that ended between the commit of a run and its record here owes the log an event, which is made up
// for when the task is next heard of or read. Nothing is read from the disk before that. runs returns them oldest first;
// it is called for tasks with files only, since of a task that has printed nothing the runs tell all there is, and its
// error is returned.
func (l *Logs) Resume(taskID string, runs func() ([]*slotdv1.RunRecord, error)) error {
	if !l.folders.has(taskID) {
		return nil
	}
	known, err := runs()
	if err != nil || len(known) == 0 {
		return err
	}
	h := l.acquire(taskID)
	if h == nil {
		return nil
	}
	defer l.release(h)
	h.publishing.Lock()
	h.owed = known
	h.publishing.Unlock()
	l.activate(h)
	return nil
}

// settle adds what an earlier life owed. The caller holds publishing, and events may be added.
func (h *hub) settle() {
	owed := h.owed
	h.owed = nil
	for _, run := range owed {
		h.tell(run)
	}
}
