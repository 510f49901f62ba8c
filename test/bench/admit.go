package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

// ServeSubmits is the bare server: it decodes a submission, makes an id, writes the spec below it with one synced write,
// and answers, for at most n submissions. It keeps them in the present folder, prints its address, and once stdin ends
// how many it has kept.
func ServeSubmits(ctx context.Context, n int, stdin io.Reader, stdout io.Writer) (err error) {
	db, err := pebble.Open("bare", &pebble.Options{Logger: quiet{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.POST("/api/v1/tasks", admit(db, uint64(n)))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: router}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, printed := fmt.Fprintln(stdout, listener.Addr())
	_, drained := io.Copy(io.Discard, stdin)
	closed := server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	kept, err := count(db)
	if err != nil {
		return err
	}
	_, told := fmt.Fprintln(stdout, kept)
	return errors.Join(printed, drained, closed, told)
}

func admit(db *pebble.DB, most uint64) gin.HandlerFunc {
	var minted atomic.Uint64
	return func(c *gin.Context) {
		body, err := c.GetRawData()
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		var request soltiv1.SubmitTaskRequest
		if err := protojson.Unmarshal(body, &request); err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		number := minted.Add(1)
		if number > most {
			c.AbortWithStatus(http.StatusTooManyRequests)
			return
		}
		id := fmt.Sprintf("tsk_%026d", number)
		spec, err := proto.Marshal(request.GetSpec())
		if err == nil {
			err = db.Set([]byte(id), spec, pebble.Sync)
		}
		if err != nil {
			c.AbortWithStatus(http.StatusServiceUnavailable)
			return
		}
		answer, err := protojson.Marshal(&soltiv1.SubmitTaskResponse{TaskId: id})
		if err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
			return
		}
		c.Data(http.StatusCreated, "application/json", answer)
	}
}

// count returns how many keys a database has.
func count(from pebble.Reader) (n int, err error) {
	iter, err := from.NewIter(nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := iter.First(); valid; valid = iter.Next() {
		n++
	}
	return n, iter.Error()
}

// quiet says nothing of what an engine has to tell but its end.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
