// SPDX-License-Identifier: Apache-2.0
#include "test/cuda/driver/Streams.h"

#include <algorithm>

namespace morph::standin {

Stream *Streams::create(unsigned flags, int priority) {
  streams.push_back(std::make_unique<Stream>());
  Stream *stream = streams.back().get();
  stream->flags = flags;
  stream->isBlocking = !(flags & CU_STREAM_NON_BLOCKING);
  stream->priority = priority;
  return stream;
}

void Streams::destroy(Stream *stream) {
  auto found = std::find_if(streams.begin(), streams.end(), [&](const auto &one) { return one.get() == stream; });
  if (stream->capture)
    stream->capture->isInvalid = true;
  if (favourite == stream)
    favourite = nullptr;
  if (stream->items.empty())
    streams.erase(found);
  else
    orphans.splice(orphans.end(), streams, found);
}

bool Streams::isKnown(const Stream *stream) const {
  return std::any_of(streams.begin(), streams.end(), [&](const auto &one) { return one.get() == stream; });
}

CUresult Streams::enqueue(Stream *stream, Work work) {
  if (stream->isDefault && !captures.empty() &&
      std::any_of(streams.begin(), streams.end(), [](const auto &one) { return one->capture && one->isBlocking; })) {
    // The default stream would wait for what is captured.
    for (const auto &one : streams)
      if (one->capture && one->isBlocking)
        one->capture->isInvalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  if (stream->capture) {
    if (stream->capture->isInvalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    Graph &graph = *stream->capture->graph;
    graph.nodes.push_back({std::move(work), stream->frontier});
    stream->frontier = {graph.nodes.size() - 1};
    return CUDA_SUCCESS;
  }
  Stream::Item item;
  item.work = std::move(work);
  item.completion = std::make_shared<Completion>();
  // The default stream waits for all blocking streams, and they for it.
  if (stream->isDefault) {
    for (const auto *all : {&streams, &orphans})
      for (const auto &other : *all)
        if (other.get() != stream && other->isBlocking && other->last && !other->last->isDone)
          item.after.push_back(other->last);
  } else if (stream->isBlocking && standard->last && !standard->last->isDone) {
    item.after.push_back(standard->last);
  }
  stream->last = item.completion;
  stream->items.push_back(std::move(item));
  return CUDA_SUCCESS;
}

CUresult Streams::record(Event &event, Stream *stream) {
  if (stream->capture) {
    if (stream->capture->isInvalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event.capture = stream->capture;
    event.nodes = stream->frontier;
    event.completion = nullptr;
    return CUDA_SUCCESS;
  }
  CUresult result = enqueue(stream, {[] {}});
  if (result != CUDA_SUCCESS)
    return result;
  event.capture = nullptr;
  event.nodes.clear();
  event.completion = stream->last;
  return CUDA_SUCCESS;
}

CUresult Streams::wait(Stream *stream, const Event &event) {
  if (event.capture) {
    bool isOpen = std::find(captures.begin(), captures.end(), event.capture) != captures.end();
    if (!isOpen)
      return CUDA_ERROR_INVALID_VALUE;
    if (event.capture->isInvalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream->capture && stream->capture != event.capture) {
      stream->capture->isInvalid = event.capture->isInvalid = true;
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (stream->isDefault)
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (!stream->capture) {
      // The stream joins the capture.
      stream->capture = event.capture;
      stream->isOrigin = false;
      stream->frontier.clear();
    }
    for (size_t node : event.nodes)
      if (std::find(stream->frontier.begin(), stream->frontier.end(), node) == stream->frontier.end())
        stream->frontier.push_back(node);
    return CUDA_SUCCESS;
  }
  if (stream->capture) {
    stream->capture->isInvalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (!event.completion || event.completion->isDone)
    return CUDA_SUCCESS;
  CUresult result = enqueue(stream, {[] {}});
  if (result == CUDA_SUCCESS)
    stream->items.back().after.push_back(event.completion);
  return result;
}

CUresult Streams::beginCapture(Stream *stream, CUstreamCaptureMode mode) {
  if (stream->isDefault)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = std::make_shared<Capture>();
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  stream->isOrigin = true;
  stream->frontier.clear();
  captures.push_back(stream->capture);
  return CUDA_SUCCESS;
}

CUresult Streams::endCapture(Stream *stream, std::shared_ptr<Graph> &graph) {
  std::shared_ptr<Capture> capture = stream->capture;
  if (!capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  if (!stream->isOrigin)
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->thread != std::this_thread::get_id() && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  // Everything captured must lead to where the origin stands.
  std::vector<bool> isReached(capture->graph->nodes.size(), false);
  std::vector<size_t> open = stream->frontier;
  while (!open.empty()) {
    size_t node = open.back();
    open.pop_back();
    if (isReached[node])
      continue;
    isReached[node] = true;
    for (size_t before : capture->graph->nodes[node].after)
      open.push_back(before);
  }
  bool isJoined = std::find(isReached.begin(), isReached.end(), false) == isReached.end();
  for (const auto &other : streams)
    if (other->capture == capture) {
      other->capture = nullptr;
      other->isOrigin = false;
      other->frontier.clear();
    }
  captures.erase(std::find(captures.begin(), captures.end(), capture));
  if (capture->isInvalid)
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!isJoined)
    return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  graph = capture->graph;
  return CUDA_SUCCESS;
}

bool Streams::forbidsUnsafe() {
  bool forbids = false;
  for (const auto &capture : captures)
    if (capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
        (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread == std::this_thread::get_id())) {
      capture->isInvalid = true;
      forbids = true;
    }
  return forbids;
}

void Streams::invalidate(Stream *stream) { stream->capture->isInvalid = true; }

CUresult Streams::launch(Stream *stream, std::shared_ptr<const Graph> graph) {
  return enqueue(stream, {[this, graph] { runNodes(*graph); }});
}

void Streams::runWork(const Work &work) {
  if (!work.isUnlocked)
    return work.run();
  lock.unlock();
  work.run();
  lock.lock();
}

void Streams::runNodes(const Graph &graph) {
  std::vector<size_t> missing(graph.nodes.size()), ready;
  std::vector<std::vector<size_t>> followers(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    missing[i] = graph.nodes[i].after.size();
    for (size_t before : graph.nodes[i].after)
      followers[before].push_back(i);
    if (missing[i] == 0)
      ready.push_back(i);
  }
  while (!ready.empty()) {
    size_t place = random.below(ready.size());
    size_t node = ready[place];
    ready[place] = ready.back();
    ready.pop_back();
    runWork(graph.nodes[node].work);
    for (size_t follower : followers[node])
      if (--missing[follower] == 0)
        ready.push_back(follower);
  }
}

bool Streams::step() {
  std::vector<Stream *> ready;
  for (const auto *all : {&streams, &orphans})
    for (const auto &stream : *all)
      if (!stream->items.empty() && !stream->isRunning &&
          std::all_of(stream->items.front().after.begin(), stream->items.front().after.end(),
                      [](const auto &completion) { return completion->isDone; }))
        ready.push_back(stream.get());
  if (ready.empty())
    return false;
  // A favourite stream runs far ahead of the others, until chance has another one.
  auto chosen = std::find(ready.begin(), ready.end(), favourite);
  if (chosen == ready.end() || random.below(4) == 0)
    chosen = ready.begin() + long(random.below(ready.size()));
  Stream *stream = *chosen;
  favourite = stream;
  stream->isRunning = true;
  Stream::Item item = std::move(stream->items.front());
  runWork(item.work);
  stream->isRunning = false;
  stream->items.pop_front();
  if (stream->items.empty())
    favourite = nullptr;
  item.completion->isDone = true;
  item.completion->time = std::chrono::steady_clock::now();
  orphans.remove_if([](const auto &one) { return one->items.empty(); });
  return true;
}

void Streams::runUntil(const std::function<bool()> &isMet) {
  while (!isMet())
    if (!step()) {
      // Another thread runs a host function: its turn.
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
}

void Streams::runAll() {
  runUntil([&] {
    for (const auto *all : {&streams, &orphans})
      for (const auto &stream : *all)
        if (!stream->items.empty())
          return false;
    return true;
  });
}

void Streams::runSome() {
  if (random.below(2))
    step();
}

bool Streams::hasHostFunctions() const {
  for (const auto *all : {&streams, &orphans})
    for (const auto &stream : *all)
      for (const Stream::Item &item : stream->items)
        if (item.work.isHostFunction)
          return true;
  return false;
}

} // namespace morph::standin
