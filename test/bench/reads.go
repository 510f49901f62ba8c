package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	soltiv1 "slotd/messages/solti/v1"
)

const (
	// readers is how many clients ask at the same time.
	readers = 4
	// pageSize is how many tasks a page has.
	pageSize = 100
	// pileSlots is how many slots the tasks of a pile are in.
	pileSlots = 100
	// pileTeams is how many values the label team has.
	pileTeams = 12
)

// reads asks daemons that keep piles of tasks of different heights.
func reads(c Config) Section {
	r := &reading{config: c}
	low, middle, high := c.Piles[0], c.Piles[1], c.Piles[2]
	section := Section{
		Name: "reads",
		About: fmt.Sprintf("%d clients, each with a connection that stays open, ask for random tasks, and for random pages of %d tasks, of %s, %s and %s "+
			"ended tasks in %d slots, %v at a time; a label selector matches every %dth. The floors are a bare gin and a bare gRPC server that answer every "+
			"call with the same message, which is one of slotd's; clients compute the same for both, and on a small machine take a good part of it. The 99th "+
			"percentile of the highest pile stands beside that of the lowest.",
			readers, pageSize, number(float64(low)), number(float64(middle)), number(float64(high)), pileSlots, c.Reading, pileTeams),
		Prepare: r.prepare,
	}
	add := func(metrics []Metric, measure func(ctx context.Context) (gauge, error)) {
		section.Probes = append(section.Probes, Probe{Metrics: metrics, Measure: func(ctx context.Context) ([]float64, error) {
			g, err := measure(ctx)
			return g.values(), err
		}})
	}
	for _, protocol := range []struct {
		name string
		gets func(ctx context.Context, s served) (gauge, error)
		list func(ctx context.Context, s served, filter string) (gauge, error)
	}{{"gin", r.getHTTP, r.listHTTP}, {"gRPC", r.getGRPC, r.listGRPC}} {
		over := map[string]string{"gin": "HTTP", "gRPC": "gRPC"}[protocol.name]
		get, list := "bare "+protocol.name+", a task", "bare "+protocol.name+", a page"
		add(gaugeMetrics(get, "", Bound{}), func(ctx context.Context) (gauge, error) { return protocol.gets(ctx, r.bare) })
		add(gaugeMetrics(fmt.Sprintf("slotd over %s, a task of %s", over, number(float64(middle))), get, Bound{OfFloor: 0.6}),
			func(ctx context.Context) (gauge, error) { return protocol.gets(ctx, r.piles[1]) })
		add(gaugeMetrics(list, "", Bound{}), func(ctx context.Context) (gauge, error) { return protocol.list(ctx, r.bare, "all") })
		for i, height := range []int{middle, high} {
			add(gaugeMetrics(fmt.Sprintf("slotd over %s, a page of %s", over, number(float64(height))), list, Bound{OfFloor: 0.3}),
				func(ctx context.Context) (gauge, error) { return protocol.list(ctx, r.piles[i+1], "all") })
		}
	}
	for _, filter := range []string{"all", "slot", "status", "label"} {
		section.Probes = append(section.Probes, r.tails(filter, low, high)...)
	}
	return section
}

// tails compares the slowest answers of the highest pile with those of the lowest.
func (r *reading) tails(filter string, low, high int) []Probe {
	name := func(height int, what string) string {
		return fmt.Sprintf("pages of %s by %s, %s", number(float64(height)), filter, what)
	}
	if filter == "all" {
		name = func(height int, what string) string {
			return fmt.Sprintf("pages of %s, %s", number(float64(height)), what)
		}
	}
	bound := Bound{AtMost: 1.5}
	if filter == "label" {
		bound = Bound{} // it has to look at what it does not show
	}
	probe := func(pile, height int, floor string, bound Bound) Probe {
		return Probe{
			Metrics: []Metric{
				{Name: name(height, "rate"), Unit: "calls/s"},
				{Name: name(height, "p99"), Unit: "µs", Floor: floor, Bound: bound},
			},
			Measure: func(ctx context.Context) ([]float64, error) {
				g, err := r.listHTTP(ctx, r.piles[pile], filter)
				return []float64{g.rate, g.p99}, err
			},
		}
	}
	return []Probe{probe(0, low, "", Bound{}), probe(2, high, name(low, "p99"), bound)}
}

// reading is what all probes of reads share.
type reading struct {
	config Config
	piles  []served
	bare   served
}

// served is a server that answers reads of a pile.
type served struct {
	http, grpc string
	ids        []string // of some tasks
	height     int
	pid        int
}

// prepare starts a daemon on each pile, and the bare servers.
func (r *reading) prepare(ctx context.Context) (undo func() error, err error) {
	var undos []func() error
	all := func() error {
		var errs []error
		for _, f := range slices.Backward(undos) {
			errs = append(errs, f())
		}
		r.piles = nil
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, all())
		}
	}()
	root, err := os.MkdirTemp(r.config.Dir, "piles-*")
	if err != nil {
		return nil, err
	}
	undos = append(undos, func() error { return os.RemoveAll(root) })
	for _, height := range r.config.Piles {
		s, stop, err := r.pile(ctx, filepath.Join(root, strconv.Itoa(height)), height)
		if err != nil {
			return nil, fmt.Errorf("a pile of %d tasks: %w", height, err)
		}
		undos = append(undos, stop)
		r.piles = append(r.piles, s)
	}
	bare, stop, err := r.constants(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("the bare servers: %w", err)
	}
	undos = append(undos, stop)
	r.bare = bare
	return all, nil
}

// pile makes a store of so many ended tasks and starts a daemon on it.
func (r *reading) pile(ctx context.Context, dir string, height int) (s served, stop func() error, err error) {
	if err := fill(ctx, r.config, childPile, dir, height); err != nil {
		return served{}, nil, err
	}
	d, err := r.config.daemon()
	if err != nil {
		return served{}, nil, err
	}
	if err := errors.Join(d.inherit(filepath.Join(dir, storeDir)), os.RemoveAll(dir)); err != nil {
		return served{}, nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	if err := d.start(ctx, r.config.Slotd, "--retain-tasks", strconv.Itoa(height), "--grpc", "127.0.0.1:0"); err != nil {
		return served{}, nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	s = served{http: d.addr, grpc: d.grpc, height: height}
	if err = d.knows(ctx, height); err == nil {
		s.ids, err = someIDs(ctx, s)
	}
	if err != nil {
		return served{}, nil, errors.Join(err, d.stop())
	}
	return s, d.stop, nil
}

// someIDs are those of tasks from everywhere in the pile.
func someIDs(ctx context.Context, s served) (ids []string, err error) {
	err = withGRPC(s.grpc, func(client soltiv1.SoltiApiClient) error {
		for i := range 50 {
			page, err := client.ListTasks(ctx, &soltiv1.ListTasksRequest{Limit: pageSize, Offset: uint32(i * max(0, s.height-pageSize) / 50)})
			if err != nil {
				return err
			}
			for _, task := range page.GetTasks() {
				ids = append(ids, task.GetMetadata().GetId())
			}
		}
		return nil
	})
	if err == nil && len(ids) == 0 {
		err = errors.New("it has no tasks")
	}
	return ids, err
}

// constants starts the bare servers with answers that a daemon gave.
func (r *reading) constants(ctx context.Context, dir string) (s served, stop func() error, err error) {
	from := r.piles[len(r.piles)/2]
	err = withGRPC(from.grpc, func(client soltiv1.SoltiApiClient) error {
		get, err := client.GetTaskStatus(ctx, &soltiv1.GetTaskStatusRequest{TaskId: from.ids[0]})
		if err != nil {
			return err
		}
		list, err := client.ListTasks(ctx, &soltiv1.ListTasksRequest{Limit: pageSize})
		if err != nil {
			return err
		}
		return errors.Join(writeMessage(filepath.Join(dir, getAnswer), get), writeMessage(filepath.Join(dir, listAnswer), list))
	})
	if err != nil {
		return served{}, nil, err
	}
	s, stop, err = startConstants(ctx, r.config, dir)
	s.ids, s.height = from.ids, from.height
	return s, stop, err
}

func writeMessage(path string, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// withGRPC connects to an address for as long as use lasts.
func withGRPC(addr string, use func(soltiv1.SoltiApiClient) error) (err error) {
	conn, err := dialGRPC(addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return use(soltiv1.NewSoltiApiClient(conn))
}

func dialGRPC(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (r *reading) getHTTP(ctx context.Context, s served) (gauge, error) {
	dice := dices()
	return gaugeHTTP(ctx, s.http, readers, r.config.Reading, func(client, _ int) string {
		return "/api/v1/tasks/" + s.ids[dice[client].IntN(len(s.ids))]
	})
}

func (r *reading) listHTTP(ctx context.Context, s served, filter string) (gauge, error) {
	dice := dices()
	return gaugeHTTP(ctx, s.http, readers, r.config.Reading, func(client, _ int) string {
		d := dice[client]
		path := fmt.Sprintf("/api/v1/tasks?limit=%d&offset=", pageSize)
		switch filter {
		case "slot":
			return fmt.Sprintf("%s%d&slot=%s", path, d.IntN(max(1, s.height/pileSlots-pageSize)), pileSlot(d.IntN(pileSlots)))
		case "status":
			return fmt.Sprintf("%s%d&status=failed", path, d.IntN(max(1, s.height/pileFails-pageSize)))
		case "label":
			return fmt.Sprintf("%s0&label=team%%3Dteam-%d", path, d.IntN(pileTeams))
		default:
			return fmt.Sprintf("%s%d", path, d.IntN(max(1, s.height-pageSize)))
		}
	})
}

func (r *reading) getGRPC(ctx context.Context, s served) (gauge, error) {
	dice := dices()
	return r.gaugeGRPC(s, func(api soltiv1.SoltiApiClient, client int) error {
		_, err := api.GetTaskStatus(ctx, &soltiv1.GetTaskStatusRequest{TaskId: s.ids[dice[client].IntN(len(s.ids))]})
		return err
	})
}

func (r *reading) listGRPC(ctx context.Context, s served, _ string) (gauge, error) {
	dice := dices()
	return r.gaugeGRPC(s, func(api soltiv1.SoltiApiClient, client int) error {
		_, err := api.ListTasks(ctx, &soltiv1.ListTasksRequest{Limit: pageSize, Offset: uint32(dice[client].IntN(max(1, s.height-pageSize)))})
		return err
	})
}

// gaugeGRPC measures calls of clients with a connection each.
func (r *reading) gaugeGRPC(s served, call func(api soltiv1.SoltiApiClient, client int) error) (g gauge, err error) {
	asks := make([]request, readers)
	for i := range asks {
		conn, err := dialGRPC(s.grpc)
		if err != nil {
			return gauge{}, err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		api := soltiv1.NewSoltiApiClient(conn)
		asks[i] = func(int) error { return call(api, i) }
	}
	return measureCalls(asks, r.config.Reading)
}

// dices is one source of chance for each reader, the same in every round.
func dices() []*rand.Rand {
	all := make([]*rand.Rand, readers)
	for i := range all {
		all[i] = rand.New(rand.NewPCG(uint64(i), 0)) //nolint:gosec // it need not be hard to guess
	}
	return all
}
