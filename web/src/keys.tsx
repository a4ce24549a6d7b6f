import { Fragment } from 'preact';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { endKey, type Environment, type KeyKind, type OldKey, oldKeys, resetKey } from './api';

const hour = 3_600_000;
const graces: [label: string, millis: number | null][] = [
  ['7 days', 168 * hour],
  ['30 days', 720 * hour],
  ['24 hours', 24 * hour],
  ['1 hour', hour],
  ['no longer: cut off whoever still has it', null],
];

export interface KeysProps {
  project: string;
  environment: Environment;
  onReset: (environment: Environment) => void;
  explain: (error: unknown) => void;
}

export function Keys({ project, environment, onReset, explain }: KeysProps) {
  const [old, setOld] = useState<OldKey[]>([]);
  const [resetting, setResetting] = useState<KeyKind | null>(null);
  const refresh = useCallback(() => {
    oldKeys(project, environment.key)
      .then(({ items }) => setOld(items))
      .catch(explain);
  }, [project, environment.key]);
  // Also after somebody else has reset one.
  useEffect(refresh, [environment.apiKey, environment.mobileKey]);

  const end = (id: string) => endKey(project, environment.key, id).catch(explain).then(refresh);
  const reset = (kind: KeyKind, grace: number | null) => {
    setResetting(null);
    return resetKey(project, environment.key, kind, grace === null ? null : Date.now() + grace)
      .then(onReset)
      .catch(explain)
      .then(refresh);
  };
  return (
    <>
      <dl>
        <dt>SDK key</dt>
        <dd>
          <code data-testid="sdk-key">{environment.apiKey}</code>{' '}
          <button class="link" data-testid="reset-sdk-key" onClick={() => setResetting('apiKey')}>
            reset
          </button>
        </dd>
        <dt>mobile key</dt>
        <dd>
          <code>{environment.mobileKey}</code>{' '}
          <button class="link" data-testid="reset-mobile-key" onClick={() => setResetting('mobileKey')}>
            reset
          </button>
        </dd>
        <dt>client-side id</dt>
        <dd>
          <code>{environment._id}</code>
        </dd>
        {old.map(({ _id, kind, value, expiry }) => (
          <Fragment key={_id}>
            <dt>old {kind === 'sdk' ? 'SDK' : 'mobile'} key</dt>
            <dd data-testid="old-key">
              <code>{value}</code> works until {new Date(expiry).toLocaleString()}{' '}
              <button class="link" data-testid="end-key" onClick={() => end(_id)}>
                end now
              </button>
            </dd>
          </Fragment>
        ))}
      </dl>
      {resetting && <ResetDialog kind={resetting} onReset={reset} onClose={() => setResetting(null)} />}
    </>
  );
}

interface DialogProps {
  kind: KeyKind;
  onReset: (kind: KeyKind, grace: number | null) => void;
  onClose: () => void;
}

function ResetDialog({ kind, onReset, onClose }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [choice, setChoice] = useState(0);
  useEffect(() => dialog.current?.showModal(), []);
  const name = kind === 'apiKey' ? 'SDK key' : 'mobile key';
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="reset-title">
      <h2 id="reset-title">Reset the {name}</h2>
      <p>Applications that still use the old key when it ends stop getting flags until they restart with the new one.</p>
      <label>
        the old key works for{' '}
        <select data-testid="grace" value={choice} onChange={(e) => setChoice(Number((e.target as HTMLSelectElement).value))}>
          {graces.map(([label], index) => (
            <option value={index}>{label}</option>
          ))}
        </select>
      </label>
      <p>
        <button data-testid="confirm-reset" onClick={() => onReset(kind, graces[choice][1])}>
          reset
        </button>{' '}
        <button onClick={onClose}>cancel</button>
      </p>
    </dialog>
  );
}
