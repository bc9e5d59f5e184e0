// SPDX-License-Identifier: Apache-2.0
// Entry points: streams, events and graphs.

#include "test/cuda/driver/Call.h"

#include <algorithm>
#include <chrono>

using namespace morph::standin;

namespace {

/// Whether an event was recorded in a capture, which asking for it makes invalid.
bool isCaptured(const Event &event) {
  if (event.capture)
    event.capture->isInvalid = true;
  return event.capture != nullptr;
}

} // namespace

extern "C" {

CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
  Call call;
  if (call.failed())
    return call.result;
  if (!handle || flags > CU_STREAM_NON_BLOCKING)
    return CUDA_ERROR_INVALID_VALUE;
  *handle = reinterpret_cast<CUstream>(call->streams.create(flags, priority));
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

CUresult cuStreamDestroy(CUstream handle) {
  Call call(true);
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->isDefault)
    return CUDA_ERROR_INVALID_HANDLE;
  call->streams.destroy(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture) {
    call->streams.invalidate(stream);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (stream->isDefault) {
    // The default stream is done when what it waits for is.
    CUresult result = call.queue(stream, [](Context &) {});
    if (result != CUDA_SUCCESS)
      return result;
  }
  return call.drain(stream);
}

CUresult cuStreamQuery(CUstream handle) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  if (stream->capture) {
    call->streams.invalidate(stream);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  call->streams.runSome();
  if (call->error != CUDA_SUCCESS)
    return call->error;
  return stream->items.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent eventHandle, unsigned flags) {
  Call call;
  Stream *stream = call.stream(handle);
  Event *event = call.event(eventHandle);
  if (!event)
    return call.result;
  return flags ? CUDA_ERROR_NOT_SUPPORTED : call->streams.wait(stream, *event);
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  *flags = stream->flags;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  *priority = stream->priority;
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  Call call;
  Stream *stream = call.stream(handle);
  return stream ? call->streams.beginCapture(stream, mode) : call.result;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  std::shared_ptr<Graph> captured;
  CUresult result = call->streams.endCapture(stream, captured);
  *graph = nullptr;
  if (result != CUDA_SUCCESS)
    return result;
  auto *made = new std::shared_ptr<Graph>(captured);
  call->graphs.insert(made);
  *graph = reinterpret_cast<CUgraph>(made);
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  Call call;
  Stream *stream = call.stream(handle);
  if (!stream)
    return call.result;
  *status = !stream->capture             ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->isInvalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
  Call call;
  if (call.failed())
    return call.result;
  if (!handle || (flags & ~unsigned(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING)))
    return CUDA_ERROR_INVALID_VALUE;
  auto *event = new Event;
  event->hasTiming = !(flags & CU_EVENT_DISABLE_TIMING);
  call->events.insert(event);
  *handle = reinterpret_cast<CUevent>(event);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent handle) {
  Call call(true);
  Event *event = call.event(handle);
  if (!event)
    return call.result;
  call->events.erase(event);
  delete event;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent handle, CUstream streamHandle) {
  Call call;
  Stream *stream = call.stream(streamHandle);
  Event *event = call.event(handle);
  return event ? call->streams.record(*event, stream) : call.result;
}

CUresult cuEventQuery(CUevent handle) {
  Call call;
  Event *event = call.event(handle);
  if (!event)
    return call.result;
  if (isCaptured(*event))
    return CUDA_ERROR_CAPTURED_EVENT;
  if (call.isUnsafe())
    return call.result;
  call->streams.runSome();
  if (call->error != CUDA_SUCCESS)
    return call->error;
  return !event->completion || event->completion->isDone ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent handle) {
  Call call;
  Event *event = call.event(handle);
  if (!event)
    return call.result;
  if (isCaptured(*event))
    return CUDA_ERROR_CAPTURED_EVENT;
  std::shared_ptr<Completion> completion = event->completion;
  if (completion)
    call->streams.runUntil([&] { return completion->isDone; });
  return call->error;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  Call call;
  Event *first = call.event(from);
  Event *second = call.event(to);
  if (!second)
    return call.result;
  if (!first->hasTiming || !second->hasTiming || !first->completion || !second->completion)
    return CUDA_ERROR_INVALID_HANDLE;
  if (!first->completion->isDone || !second->completion->isDone)
    return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(second->completion->time - first->completion->time).count();
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *handle, CUgraph graph, unsigned long long flags) {
  Call call;
  auto *source = call.graph(graph);
  if (!source)
    return call.result;
  if (flags & ~(unsigned long long)(CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH |
                                    CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY))
    return CUDA_ERROR_NOT_SUPPORTED;
  auto *made = new std::shared_ptr<const Graph>(std::make_shared<Graph>(**source));
  call->executables.insert(made);
  *handle = reinterpret_cast<CUgraphExec>(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream streamHandle) {
  Call call;
  call.stream(streamHandle);
  call.executable(handle);
  return call.result;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream streamHandle) {
  Call call;
  Stream *stream = call.stream(streamHandle);
  auto *graph = call.executable(handle);
  if (!graph)
    return call.result;
  ++driver.graphLaunches;
  return call->streams.launch(stream, *graph);
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *count) {
  Call call;
  auto *graph = call.graph(handle);
  if (!graph)
    return call.result;
  if (!count)
    return CUDA_ERROR_INVALID_VALUE;
  if (nodes)
    for (size_t i = 0; i < *count; ++i)
      nodes[i] = i < (*graph)->nodes.size() ? reinterpret_cast<CUgraphNode>(&(*graph)->nodes[i]) : nullptr;
  *count = nodes ? std::min(*count, (*graph)->nodes.size()) : (*graph)->nodes.size();
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph handle) {
  Call call(true);
  auto *graph = call.graph(handle);
  if (!graph)
    return call.result;
  call->graphs.erase(graph);
  delete graph;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  Call call(true);
  auto *graph = call.executable(handle);
  if (!graph)
    return call.result;
  call->executables.erase(graph);
  delete graph;
  return CUDA_SUCCESS;
}

} // extern "C"
