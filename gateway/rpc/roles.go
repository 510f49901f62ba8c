package rpc

import (
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha" // old clients ask for it

	"slotd/gateway/auth"
	slotdv1 "slotd/messages/slotd/v1"
	soltiv1 "slotd/messages/solti/v1"
)

// needs is the role that each method needs, as the routes of HTTP do. A method that is missing here is for nobody but
// admin, and fails a test.
var needs = map[string]auth.Role{
	soltiv1.SoltiApi_SubmitTask_FullMethodName:     auth.Submit,
	soltiv1.SoltiApi_GetTaskStatus_FullMethodName:  auth.Read,
	soltiv1.SoltiApi_ListTasks_FullMethodName:      auth.Read,
	soltiv1.SoltiApi_ListTaskRuns_FullMethodName:   auth.Read,
	soltiv1.SoltiApi_DeleteTask_FullMethodName:     auth.Submit,
	soltiv1.SoltiApi_StreamTaskLogs_FullMethodName: auth.Read,

	slotdv1.Supervisor_SubmitTasks_FullMethodName:    auth.Submit,
	slotdv1.Supervisor_CancelTask_FullMethodName:     auth.Submit,
	slotdv1.Supervisor_ListSlots_FullMethodName:      auth.Read,
	slotdv1.Supervisor_GetSlot_FullMethodName:        auth.Read,
	slotdv1.Supervisor_PurgeSlotTasks_FullMethodName: auth.Submit,
	slotdv1.Supervisor_StreamEvents_FullMethodName:   auth.Read,
	slotdv1.Supervisor_ListNodes_FullMethodName:      auth.Read,
	slotdv1.Supervisor_Introspect_FullMethodName:     auth.Read,
	slotdv1.Supervisor_GetVersion_FullMethodName:     auth.None,

	healthpb.Health_Check_FullMethodName: auth.None,
	healthpb.Health_List_FullMethodName:  auth.None,
	healthpb.Health_Watch_FullMethodName: auth.None,

	reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName:      auth.Read,
	reflectionalphapb.ServerReflection_ServerReflectionInfo_FullMethodName: auth.Read,
}

// roleOf is the role that a method needs.
func roleOf(method string) auth.Role {
	if role, ok := needs[method]; ok {
		return role
	}
	return auth.Admin
}
