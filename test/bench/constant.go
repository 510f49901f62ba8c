package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

// The files with what the bare servers answer: messages of slotd's own.
const (
	getAnswer  = "get.pb"
	listAnswer = "list.pb"
)

// ServeConstants is the bare servers of reads and submits, over HTTP with gin and over gRPC: every call is answered with
// the same message. It reads them from the present folder, prints both addresses, and ends with stdin.
func ServeConstants(ctx context.Context, stdin io.Reader, stdout io.Writer) (err error) {
	answers := &constants{get: new(soltiv1.GetTaskStatusResponse), list: new(soltiv1.ListTasksResponse)}
	if err := errors.Join(readMessage(getAnswer, answers.get), readMessage(listAnswer, answers.list)); err != nil {
		return err
	}
	var lc net.ListenConfig
	overHTTP, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	overGRPC, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, overHTTP.Close())
	}
	router, err := answers.router()
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: router}
	served := make(chan error, 2)
	go func() { served <- server.Serve(overHTTP) }()
	calls := grpc.NewServer()
	soltiv1.RegisterSoltiApiServer(calls, answers)
	go func() { served <- calls.Serve(overGRPC) }()
	_, printed := fmt.Fprintln(stdout, overHTTP.Addr(), overGRPC.Addr())
	_, drained := io.Copy(io.Discard, stdin)
	closed := server.Close()
	calls.Stop()
	for range 2 {
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			closed = errors.Join(closed, err)
		}
	}
	return errors.Join(printed, drained, closed)
}

func readMessage(path string, into proto.Message) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, into)
}

// constants answers over gRPC.
type constants struct {
	soltiv1.UnimplementedSoltiApiServer

	get  *soltiv1.GetTaskStatusResponse
	list *soltiv1.ListTasksResponse
}

// constantID is what a bare server answers a submission with.
const constantID = "tsk_01JBENCH000000000000000000"

func (c *constants) GetTaskStatus(context.Context, *soltiv1.GetTaskStatusRequest) (*soltiv1.GetTaskStatusResponse, error) {
	return c.get, nil
}

func (c *constants) ListTasks(context.Context, *soltiv1.ListTasksRequest) (*soltiv1.ListTasksResponse, error) {
	return c.list, nil
}

func (c *constants) SubmitTask(context.Context, *soltiv1.SubmitTaskRequest) (*soltiv1.SubmitTaskResponse, error) {
	return &soltiv1.SubmitTaskResponse{TaskId: constantID}, nil
}

// router answers over HTTP with the bytes of the same messages, and keeps event streams open that have nothing to tell.
func (c *constants) router() (http.Handler, error) {
	get, err := protojson.Marshal(c.get)
	if err != nil {
		return nil, err
	}
	list, err := protojson.Marshal(c.list)
	if err != nil {
		return nil, err
	}
	submitted, err := protojson.Marshal(&soltiv1.SubmitTaskResponse{TaskId: constantID})
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/api/v1/tasks/:id", func(g *gin.Context) { g.Data(http.StatusOK, "application/json", get) })
	router.GET("/api/v1/tasks", func(g *gin.Context) { g.Data(http.StatusOK, "application/json", list) })
	router.POST("/api/v1/tasks", func(g *gin.Context) {
		if _, err := g.GetRawData(); err != nil {
			g.AbortWithStatus(http.StatusBadRequest)
			return
		}
		g.Data(http.StatusCreated, "application/json", submitted)
	})
	router.GET("/api/v1/events", func(g *gin.Context) {
		g.Header("Content-Type", "text/event-stream")
		g.Status(http.StatusOK)
		g.Writer.Flush()
		<-g.Request.Context().Done()
	})
	return router, nil
}
