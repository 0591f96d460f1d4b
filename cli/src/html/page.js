'use strict'
// Names and tags are data: every text reaches the page by textContent.
;(() => {
  const data = JSON.parse(document.getElementById('data').textContent)
  const byId = (id) => document.getElementById(id)
  const ALL = 'all'
  // So many entries of a list are open; the others wait behind "and … more".
  const OPEN = 6
  // The rows that are made before the page is shown, and those that are made at a time afterwards.
  const FIRST = 60
  const STEP = 400

  const make = (name, classes, text) => {
    const node = document.createElement(name)
    if (classes) node.className = classes
    if (text !== undefined) node.textContent = text
    return node
  }
  const number = (count) => count.toLocaleString('en')
  const plural = (count, thing) => `${number(count)} ${thing}${count === 1 ? '' : 's'}`
  const isMany = (grantee) => grantee.startsWith('arn:')
  // An ARN says little more than its last parts.
  const words = (grantee) => {
    if (grantee === ALL) return 'PUBLIC: every AWS account'
    if (!isMany(grantee)) return grantee
    const [kind, organization, unit] = grantee.split(':').pop().split('/')
    return kind === 'ou' ? `unit ${unit} of ${organization}` : `organization ${organization}`
  }

  // What is asked about an image again and again, reckoned once.
  for (const image of data.images) {
    const now = image.access.filter((one) => one.standing !== 'added')
    image.now = now
    image.isPublic = now.some((one) => one.grantee === ALL)
    image.publishes = image.access.some((one) => one.grantee === ALL && one.standing === 'added')
    image.unexplained = now.some((one) => one.standing === 'keeps' && one.reasons.length === 0)
    image.changing = image.changes.length > 0
    image.exposure = image.isPublic ? 5 : image.publishes ? 4 : image.unexplained ? 3 : now.length > 0 ? 2 : image.changing ? 1 : 0
    const parts = [image.id, image.name, image.outcome, image.reason, ...image.changes.map((one) => `${one.attribute} ${one.words}`)]
    for (const one of image.access) parts.push(words(one.grantee), one.grantee, ...(one.reasons.length > 0 ? one.reasons : ['nobody says why']))
    for (const one of image.refusals) parts.push(one.code, one.attribute, one.resource)
    for (const one of image.keys) parts.push(one)
    image.text = parts.filter(Boolean).join('\n').toLowerCase()
  }

  const filters = [
    ['all', 'images', () => true, false],
    ['public', 'public now', (image) => image.isPublic, true],
    ['publishes', 'would become public', (image) => image.publishes, true],
    ['unexplained', 'where nobody says why', (image) => image.unexplained, false],
    ['shared', 'shared', (image) => image.now.length > 0, false],
    ['changing', 'would change', (image) => image.changing, false],
    ['refused', 'refused', (image) => image.refusals.length > 0, false],
    ['left', 'on hold or failed', (image) => image.reason === 'hold' || image.outcome === 'failed', false]
  ]
  const byText = (of) => (a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0)
  const byNumber = (of) => (a, b) => of(b) - of(a)
  const name = (image) => (image.name || '\uffff').toLowerCase()
  const orders = {
    risk: byNumber((image) => image.exposure * 10000 + Math.min(image.now.length, 9999)),
    name: byText(name),
    id: byText((image) => image.id),
    created: (a, b) => -byText((image) => image.created || '')(a, b),
    grantees: byNumber((image) => image.now.length),
    changes: byNumber((image) => image.changes.length),
    refusals: byNumber((image) => image.refusals.length)
  }
  const state = { filter: 'all', order: 'risk', reversed: false, query: '' }

  // A list of which a long rest waits behind a line. It is made when somebody opens it, or prints.
  const fold = (items, draw) => {
    const list = make('ul', 'list')
    for (const item of items.slice(0, OPEN)) list.append(draw(item))
    const rest = items.slice(OPEN)
    if (rest.length === 0) return list
    const more = make('li')
    const details = make('details')
    details.append(make('summary', '', `and ${number(rest.length)} more`))
    const open = () => {
      if (details.querySelector('ul')) return
      const inner = make('ul', 'list rest')
      for (const item of rest) inner.append(draw(item))
      details.append(inner)
    }
    details.addEventListener('toggle', open)
    details.fill = open
    more.append(details)
    list.append(more)
    return list
  }

  const drawAccess = (image) => (one) => {
    const line = make('li', `${one.standing} who-is`)
    line.dataset.grantee = one.grantee
    const mark = make('span', 'sign', one.standing === 'added' ? '+' : one.standing === 'removed' ? '\u2212' : '')
    mark.setAttribute('aria-hidden', 'true')
    const said = make('span', 'what')
    if (one.standing === 'added') said.append(make('span', 'skip', 'would be let in: '))
    if (one.standing === 'removed') said.append(make('span', 'skip', 'would lose access: '))
    const who = make('span', `who${one.grantee === ALL ? ' all' : ''}`, words(one.grantee))
    if (isMany(one.grantee)) who.title = one.grantee
    const why = one.reasons.length === 0 ? make('span', 'why unknown', 'nobody says why') : make('span', 'why', one.reasons.join('; '))
    said.append(who, document.createTextNode(' '), why)
    if (image.locked.includes(one.grantee)) said.append(document.createTextNode(' '), make('span', 'locked', 'cannot use the key'))
    line.append(mark, said)
    return line
  }
  const drawChange = (one) => {
    const line = make('li')
    line.append(make('span', 'label', one.attribute), document.createTextNode(` ${one.words}`))
    return line
  }
  const drawRefusal = (one) => {
    const line = make('li')
    line.append(make('span', 'code', one.code), document.createTextNode(` ${one.attribute}`))
    line.append(make('span', 'said', data.messages[one.message]))
    return line
  }

  const cell = (title, filled) => {
    const node = make('div', filled ? '' : 'empty')
    node.setAttribute('role', 'cell')
    if (title) node.append(make('span', 'only-narrow', title))
    return node
  }
  const nothing = (node, text) => node.append(make('span', 'quiet', text))

  const drawImage = (image) => {
    const node = make('div')
    node.setAttribute('role', 'rowheader')
    node.append(make('div', 'name', image.name || '(no name)'), make('div', 'id', image.id))
    const badges = make('div', 'badges')
    const badge = (text, classes) => badges.append(make('span', `badge ${classes || ''}`, text))
    if (image.isPublic) badge('PUBLIC', 'danger')
    if (image.publishes) badge('would become PUBLIC', 'danger')
    if (image.outcome === 'failed') badge('failed', 'danger')
    if (image.reason === 'hold') badge('on hold', 'hold')
    else if (image.outcome === 'deferred') badge('pending')
    else if (image.reason && image.reason !== 'no-directives') badge(image.reason)
    if (image.encrypted) badge('encrypted')
    if (badges.childNodes.length > 0) node.append(badges)
    return node
  }

  const drawKeys = (image) => {
    const node = make('div', 'keys')
    for (const arn of image.keys) {
      const key = data.keys[arn]
      const line = make('div')
      line.append(make('span', 'label', 'Key '), make('span', 'arn', arn))
      if (key) line.append(make('span', 'said', key))
      node.append(line)
    }
    return node
  }

  const drawRow = (image) => {
    const row = make('div', `row${image.isPublic || image.publishes ? ' public' : ''}`)
    row.setAttribute('role', 'row')
    row.id = image.id
    const who = cell('Who may launch it, and why', image.access.length > 0 || image.keys.length > 0)
    if (image.access.length > 0) who.append(fold(image.access, drawAccess(image)))
    else nothing(who, image.known ? 'nobody but this account' : 'not read')
    if (image.keys.length > 0) who.append(drawKeys(image))
    const changes = cell('What would change', image.changes.length + image.notes.length > 0)
    if (image.changes.length > 0) changes.append(fold(image.changes, drawChange))
    else nothing(changes, '\u2013')
    for (const note of image.notes) changes.append(make('span', 'said', data.messages[note]))
    const refused = cell('Refused', image.refusals.length > 0 || image.error)
    if (image.refusals.length > 0) refused.append(fold(image.refusals, drawRefusal))
    if (image.error) refused.append(make('span', 'said failed', image.error))
    if (image.refusals.length === 0 && !image.error) nothing(refused, '\u2013')
    row.append(drawImage(image), who, changes, refused)
    return row
  }

  // ---- search ----

  // What one account may launch: by name, because the image is public, or perhaps by an organization.
  const standingOf = (image, account) => {
    const named = image.access.find((one) => one.grantee === account)
    const open = image.access.find((one) => one.grantee === ALL)
    const many = image.now.filter((one) => isMany(one.grantee))
    if (named && named.standing !== 'added') return named.standing === 'removed' ? 'removed' : 'named'
    if (open && open.standing !== 'added') return 'public'
    if (named) return 'added'
    return many.length > 0 ? 'perhaps' : ''
  }
  const asAccount = (query) => (/^\d{12}$/.test(query) ? query : '')

  const drawAnswer = (account) => {
    const box = byId('answer')
    box.hidden = !account
    if (!account) return
    const counts = { named: 0, removed: 0, public: 0, added: 0, perhaps: 0 }
    for (const image of data.images) {
      const standing = standingOf(image, account)
      if (standing) counts[standing] += 1
    }
    const certain = counts.named + counts.removed + counts.public
    const lines = [
      [counts.named + counts.removed, (count) => `${plural(count, 'image')} by name`],
      [counts.public, (count) => `${plural(count, 'image')} because everybody may`],
      [counts.perhaps, (count) => `${plural(count, 'image')} more, if the account belongs to an organization or unit that may`],
      [counts.added, (count) => `${plural(count, 'image')} more after the next look of ami-warden`],
      [counts.removed, (count) => `of those by name, ${number(count)} no longer after the next look`]
    ]
    const owner = account === data.account
    const title = owner ? `${account} owns these images and may launch all of them` : `${account} may launch ${plural(certain, 'image')}`
    const list = make('ul')
    for (const [count, say] of lines) if (count > 0) list.append(make('li', '', say(count)))
    box.replaceChildren(make('h2', '', title), owner ? make('span') : list)
  }

  const fits = (image) => {
    const filter = filters.find((one) => one[0] === state.filter)
    if (!filter[2](image)) return false
    const query = state.query
    if (!query) return true
    const account = asAccount(query)
    if (account && account !== data.account) return standingOf(image, account) !== '' || image.text.includes(query)
    if (account) return true
    return query.split(' ').every((word) => image.text.includes(word))
  }

  // ---- the whole ----

  let shown = []
  let waiting = 0
  const rows = byId('rows')
  const rowOf = (image) => {
    if (!image.row) image.row = drawRow(image)
    return image.row
  }
  const markMatches = (image) => {
    const account = asAccount(state.query)
    for (const line of image.row.querySelectorAll('.who-is')) {
      const grantee = line.dataset.grantee
      line.classList.toggle('match', account !== '' && (grantee === account || grantee === ALL))
      line.classList.toggle('maybe', account !== '' && isMany(grantee))
    }
  }
  const appendRows = (until) => {
    const part = document.createDocumentFragment()
    while (waiting < until && waiting < shown.length) {
      const image = shown[waiting]
      part.append(rowOf(image))
      markMatches(image)
      waiting += 1
    }
    rows.append(part)
  }
  let timer = 0
  const goOn = () => {
    if (waiting >= shown.length) return
    timer = setTimeout(() => {
      appendRows(waiting + STEP)
      goOn()
    }, 0)
  }

  const show = () => {
    clearTimeout(timer)
    shown = data.images.filter(fits)
    const compare = orders[state.order]
    const sign = state.reversed ? -1 : 1
    shown.sort((a, b) => sign * compare(a, b) || byText(name)(a, b) || byText((image) => image.id)(a, b))
    rows.replaceChildren()
    waiting = 0
    appendRows(FIRST)
    goOn()
    byId('images').hidden = shown.length === 0
    byId('none').hidden = shown.length > 0
    const all = shown.length === data.images.length
    byId('count').textContent = all ? `All ${plural(shown.length, 'image')}` : `${number(shown.length)} of ${plural(data.images.length, 'image')}`
    byId('images').setAttribute('aria-rowcount', shown.length + 1)
    drawAnswer(asAccount(state.query))
    for (const button of byId('tiles').children) button.setAttribute('aria-pressed', String(button.dataset.filter === state.filter))
    const descends = ['risk', 'created', 'grantees', 'changes', 'refusals'].includes(state.order) !== state.reversed
    for (const head of document.querySelectorAll('[data-order]')) {
      if (head.dataset.order === state.order) head.setAttribute('aria-sort', descends ? 'descending' : 'ascending')
      else head.removeAttribute('aria-sort')
    }
    byId('order').value = state.order
    byId('reverse').setAttribute('aria-pressed', String(state.reversed))
  }

  const drawHead = () => {
    const account = data.account || 'unknown'
    const place = byId('place')
    const time = make('time', '', data.time.replace('T', ' ').replace('Z', ' UTC'))
    time.dateTime = data.time
    place.append('Account ', make('b', '', account), ', Region ', make('b', '', data.region), ', as of ', time)
    document.title = `Who may launch the AMIs of ${account} in ${data.region}`
    byId('made').textContent = `Made by ami-warden-plan ${data.version}. This file loads nothing and sends nothing.`
    for (const [key, label, holds, danger] of filters) {
      const count = data.images.filter(holds).length
      const button = make('button', `${danger ? 'danger' : ''}${count === 0 ? ' zero' : ''}`)
      button.type = 'button'
      button.dataset.filter = key
      button.append(make('strong', '', number(count)), make('span', '', label))
      button.addEventListener('click', () => {
        state.filter = state.filter === key ? 'all' : key
        show()
      })
      byId('tiles').append(button)
    }
    const failed = data.images.filter((image) => image.outcome === 'failed').length
    if (failed > 0) {
      byId('alert').hidden = false
      byId('alert').textContent = `${plural(failed, 'image')} could not be read in full: this page is incomplete.`
    }
  }

  let typing = 0
  byId('search').addEventListener('input', (event) => {
    clearTimeout(typing)
    typing = setTimeout(() => {
      state.query = event.target.value.trim().toLowerCase().replace(/\s+/g, ' ')
      show()
    }, 120)
  })
  byId('order').addEventListener('change', (event) => {
    state.order = event.target.value
    state.reversed = false
    show()
  })
  byId('reverse').addEventListener('click', () => {
    state.reversed = !state.reversed
    show()
  })
  byId('print').addEventListener('click', () => window.print())
  for (const head of document.querySelectorAll('[data-order]')) {
    head.firstElementChild.addEventListener('click', () => {
      state.reversed = state.order === head.dataset.order ? !state.reversed : false
      state.order = head.dataset.order
      show()
    })
  }
  // Paper has nothing to click on.
  window.addEventListener('beforeprint', () => {
    clearTimeout(timer)
    appendRows(shown.length)
    for (const details of rows.querySelectorAll('details')) {
      details.fill()
      details.open = true
    }
  })

  drawHead()
  show()
})()
