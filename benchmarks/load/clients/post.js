// For k6: posts $BODY, on $CONNECTIONS virtual users without a pause, or at $RATE per second on that many at most.
import http from 'k6/http';

const { URL, BODY, CONNECTIONS, SECONDS, RATE } = __ENV;
const users = Number(CONNECTIONS);
const duration = `${SECONDS}s`;
const closed = { executor: 'constant-vus', vus: users, duration };
const open = {
  executor: 'constant-arrival-rate', rate: Number(RATE), timeUnit: '1s', duration,
  preAllocatedVUs: users, maxVUs: users,
};

export const options = {
  scenarios: { load: Object.assign({ gracefulStop: '5s' }, RATE ? open : closed) },
  // What k6's own pages advise for large tests.
  discardResponseBodies: true,
  systemTags: ['status'],
  summaryTrendStats: ['med', 'p(99)'],
};
const request = { headers: { 'Content-Type': 'application/json' } };

export default function () {
  http.post(URL, BODY, request);
}

export function handleSummary(data) {
  const metrics = data.metrics;
  const failed = metrics.http_req_failed.values.passes;
  const took = metrics.http_req_duration.values;
  const dropped = metrics.dropped_iterations;
  const figures = {
    requests: metrics.http_reqs.values.count - failed,
    errors: failed,
    seconds: data.state.testRunDurationMs / 1000,
    p50: took.med / 1000,
    p99: took['p(99)'] / 1000,
    dropped: dropped ? dropped.values.count : 0,
  };
  return { stdout: `figures ${JSON.stringify(figures)}\n` };
}
